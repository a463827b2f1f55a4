//go:build !unix

package pixels

const openFlags = 0
