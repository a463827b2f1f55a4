//go:build !unix

package durable

// SyncDir does nothing: these systems give no way to flush a folder.
func (Disk) SyncDir(string) error { return nil }
