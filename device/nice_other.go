//go:build !linux

package device

// Nice does nothing: only Linux boards are left to others.
func Nice(int) error { return nil }
