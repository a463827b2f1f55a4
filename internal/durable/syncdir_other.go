//go:build !unix

package durable

// syncDir does nothing: these systems give no way to flush a folder.
func (disk) syncDir(string) error { return nil }
