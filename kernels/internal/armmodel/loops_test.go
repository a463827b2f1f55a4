package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const listing = `
kernels.test:	file format elf64-littleaarch64

Disassembly of section .text:

0000000000026000 <edgejepa/kernels.tileX.abi0>:
   26000:      	ldr	x1, [x0, #0x8]
   26004:      	cbz	x1, 0x26030 <edgejepa/kernels.tileX.abi0+0x30>
   26008:      	ldr	q0, [x2], #0x10
   2600c:      	fmla	v8.4s, v1.4s, v0.s[0]
   26010:      	fmla	v9.4s, v1.4s, v0.s[1]
   26014:      	subs	x1, x1, #0x1
   26018:      	b.ne	0x26008 <edgejepa/kernels.tileX.abi0+0x8>
   2601c:      	ldr	q0, [x3], #0x10
   26020:      	tbnz	w5, #0x3, 0x26028 <edgejepa/kernels.tileX.abi0+0x28>
   26024:      	sdot	v8.4s, v6.16b, v0.4b[0]
   26028:      	cbnz	x6, 0x2601c <edgejepa/kernels.tileX.abi0+0x1c>
   2602c:      	b	0x26000 <edgejepa/kernels.tileX.abi0>
   26030:      	ret

0000000000026040 <edgejepa/kernels.(*Panels).Pack>:
   26040:      	ret

0000000000026050 <edgejepa/kernels.other.abi0>:
   26050:      	b	0x30000 <runtime.x>
`

func TestInnerLoops(t *testing.T) {
	routines := parse(listing, kernelName)
	require.Equal(t, []string{"other", "tileX"}, sortedNames(routines))
	require.Len(t, routines["tileX"], 13)
	require.Empty(t, innerLoops(routines["other"]), "a branch to another routine is no loop")

	loops := innerLoops(routines["tileX"])
	require.Len(t, loops, 2, "the loop around both is not an inner one")
	require.Equal(t, 8, macs(loops[0]))
	require.Equal(t, 16, macs(loops[1]))
	require.Equal(t, [][]line{loops[1], loops[0]}, productLoops(routines["tileX"]))
	require.Equal(t, `.Lturn:
	ldr q0, [x3], #0x10
	tbnz w5, #0x3, .Lend
	sdot v8.4s, v6.16b, v0.4b[0]
	cbnz x6, .Lturn
.Lend:
`, assembly(loops[1]))
}
