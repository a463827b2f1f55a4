//go:build !purego

package cpu

import "golang.org/x/sys/cpu"

func init() { InOrder = cpu.ARM64.HasCPUID && inOrder(mainID()) }

// inOrder reads the main ID register: implementer in bits 24-31, part in bits 4-15.
func inOrder(id uint64) bool {
	if id>>24&0xff != 'A' { // Arm
		return false
	}
	switch id >> 4 & 0xfff {
	case 0xd03, 0xd04, 0xd05: // Cortex-A53, A35, A55
		return true
	}
	return false
}

// mainID reads MIDR_EL1, which the kernel lets a program do if HasCPUID.
func mainID() uint64
