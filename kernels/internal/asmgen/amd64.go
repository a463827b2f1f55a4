package main

import (
	"fmt"
	"slices"
)

// amd64 prints AVX2 and F16C, or AVX-512, without FMA: operands last to first. A routine of AVX2 hands over to its twin
// where there is AVX-512, so that the callers know of one.
type amd64 struct {
	printer
	wide  bool // AVX-512: a block is one register
	twin  bool // AVX-512: two blocks at a time, or two rows
	index map[uint32]int
	ptr   map[*arg]string
}

const (
	amd64Count = "CX"
	amd64Bytes = "AX" // of a row, or from row to row
	amd64Rows  = "R12"
	amd64N     = "R13" // of a row, or columns left
	amd64Block = "R11" // bytes from a column down to the end of its rows

	// From a block or row to its twin: in float32, in halves, and from one value a row to the next. The last of an odd
	// number is its own twin, at a distance of 0: all is done twice, and the same.
	amd64Twin      = "R11"
	amd64TwinHalf  = "R15"
	amd64TwinFloat = "R10"
)

var amd64Pointers = []string{"DI", "SI", "DX", "BX", "R8", "R9", "R10"} // twins have no more than six

// amd64Op holds the instructions that are dst = a op b, written "op b, a, dst".
var amd64Op = map[opcode]string{opAdd: "VADDPS", opSub: "VSUBPS", opMul: "VMULPS", opDiv: "VDIVPS", opMax: "VMAXPS",
	opAnd: "VANDPS", opAddInt: "VPADDD", opAdd64: "VADDPD", opMul64: "VMULPD", opXor: "VXORPS", opMulInt: "VPMULLD", opMin: "VMINPS"}

// bytes is the size of a register.
func (p *amd64) bytes() int {
	if p.wide {
		return 64
	}
	return 32
}

// v and half name a register and its lower half, k a mask register.
func (p *amd64) v(reg int) string {
	if p.wide {
		return fmt.Sprintf("Z%d", reg)
	}
	return fmt.Sprintf("Y%d", reg)
}

func (p *amd64) half(reg int) string {
	if p.wide {
		return fmt.Sprintf("Y%d", reg)
	}
	return fmt.Sprintf("X%d", reg)
}

func (p *amd64) mask(reg int) string { return fmt.Sprintf("K%d", reg+1) } // K0 is no mask

func (p *amd64) registers() int {
	if p.wide {
		return 32
	}
	return 16
}

func (p *amd64) masks() int {
	if p.wide {
		return 7
	}
	return 0
}

func (p *amd64) width(v *value) int {
	switch {
	case p.twin && v.common:
		return 1
	case p.twin:
		return 2
	}
	return width(v, block*4/p.bytes())
}

// twins says whether k gains from another block or row: where a long chain of operations, or what is done once a row,
// is waited for. What is added up in an order cannot have two.
func twins(k *kernel) bool {
	if k.rowCount != nil {
		return true
	}
	for _, v := range k.values {
		if v.kind == accumulator {
			return false
		}
	}
	return len(k.ops) > 40 && k.columns == nil
}

// at is the place in memory of register u of a value of size bytes each.
func (p *amd64) at(a *arg, u, size int) string {
	switch {
	case !p.twin || u == 0:
		return fmt.Sprintf("%d(%s)", size*u, p.ptr[a])
	case a.step == stepHalf:
		return fmt.Sprintf("(%s)(%s*1)", p.ptr[a], amd64TwinHalf)
	case a.step == stepFloat:
		return fmt.Sprintf("(%s)(%s*1)", p.ptr[a], amd64TwinFloat)
	}
	return fmt.Sprintf("(%s)(%s*1)", p.ptr[a], amd64Twin)
}

// inMemory: the second operand may be a constant in memory, laid out over 32 bytes on AVX2, broadcast on AVX-512;
// multiplication and addition commute.
func (p *amd64) inMemory(o op, v *value) bool {
	if v.kind != constant {
		return false
	}
	switch o.code {
	case opAdd, opMul, opAnd, opAddInt, opXor, opMulInt:
		return o.a != o.b && !(p.wide && (o.a.mask || o.b.mask))
	case opSub, opDiv, opMax, opLess:
		return v == o.b && v != o.a
	}
	return false
}

func (*amd64) ownResult(op) bool    { return false }
func (*amd64) needsSpare(o op) bool { return o.code == opFold }

func printAMD64(list []*kernel) ([]byte, error) {
	p := &amd64{}
	p.WriteString(header)
	list = slices.DeleteFunc(slices.Clone(list), func(k *kernel) bool { return k.neon })
	var all []*value
	all, p.index = constants(list)
	p.table(all, constantSize)
	for _, k := range list {
		for _, p.wide = range []bool{false, true} {
			p.twin = p.wide && twins(k)
			a, err := allocate(k, p)
			if err != nil {
				return nil, fmt.Errorf("amd64: %w", err)
			}
			p.k, p.a = k, a
			p.routine()
		}
	}
	return p.Bytes(), nil
}

// constantSize is the distance of two constants in the table.
const constantSize = 32

func (p *amd64) routine() {
	k := p.k
	if p.wide {
		p.text(k.name + "AVX512<>")
	} else {
		p.text("·" + k.name)
		p.ins("", "CMPB edgejepa∕internal∕cpu·HasAVX512(SB), $0")
		p.ins("", "JEQ avx2")
		p.ins("", "JMP %sAVX512<>(SB)", k.name)
		p.WriteString("\navx2:\n")
	}
	p.ptr = map[*arg]string{}
	for _, a := range k.args {
		to := ""
		switch {
		case a == k.rowCount, a == k.count && k.columns != nil:
			to = amd64Rows
		case a == k.columns:
			to = amd64N
		case a == k.count && k.rowCount != nil:
			to = amd64N
		case a == k.count:
			to = amd64Count
		case a.kind == integer:
			to = amd64Bytes
		case a.kind == pointer:
			to = amd64Pointers[len(p.ptr)]
			p.ptr[a] = to
		default:
			continue
		}
		p.ins("", "MOVQ %s+%d(FP), %s", a.name, a.offset, to)
	}
	if k.rowCount != nil {
		p.ins("", "LEAQ (%s*4), %s", amd64N, amd64Bytes)
	}
	for _, v := range k.values {
		if p.a.resident[v] {
			p.loadInvariant(v, p.a.regs[v][0])
		}
	}
	load := func(reg, off int, ptr string) { p.ins("", "VMOVUPS %d(%s), %s", off, ptr, p.v(reg)) }
	store := func(reg, off int, ptr string) { p.ins("", "VMOVUPS %s, %d(%s)", p.v(reg), off, ptr) }
	if k.columns != nil {
		p.ins("", "MOVQ %s, %s", amd64Rows, amd64Block)
		p.ins("", "IMULQ %s, %s", amd64Bytes, amd64Block)
	} else {
		p.accumulators(load)
	}

	if p.twin && k.rowCount == nil {
		p.ins("", "MOVQ $%d, %s", block*4, amd64Twin)
		p.ins("", "CMPQ %s, $%d", amd64Count, block)
		p.ins("", "JNE loop")
		p.ins("", "XORL %s, %s", amd64Twin, amd64Twin)
	}
	p.body(loopSyntax{
		align: "PCALIGN $32", start: fmt.Sprintf("MOVQ %s, %s", amd64N, amd64Count),
		add: func(n int, ptr string) {
			if p.twin && k.rowCount == nil {
				n *= 2
			}
			p.ins("", "ADDQ $%d, %s", n, ptr)
		},
		next: func(ptr string) { p.ins("", "ADDQ %s, %s", amd64Bytes, ptr) },
		back: func(ptr string) { p.ins("", "SUBQ %s, %s", amd64Bytes, ptr) },
		jump: func(by int, label string) {
			if p.twin && k.rowCount == nil {
				p.ins("", "SUBQ $%d, %s", 2*by, amd64Count)
				p.ins("", "CMPQ %s, $%d", amd64Count, by)
				p.ins("", "JGT %s", label)
				p.ins("", "JNE end")
				p.ins("", "XORL %s, %s", amd64Twin, amd64Twin)
				p.ins("", "JMP %s", label)
				p.WriteString("\nend:\n")
				return
			}
			p.ins("", "SUBQ $%d, %s", by, amd64Count)
			p.ins("", "JNZ %s", label)
		},
		row: func() {
			if !p.twin {
				return
			}
			p.ins("", "MOVQ %s, %s", amd64Bytes, amd64Twin)
			p.ins("", "MOVQ $4, %s", amd64TwinFloat)
			p.ins("", "CMPQ %s, $1", amd64Rows)
			p.ins("", "JNE both")
			p.ins("", "XORL %s, %s", amd64Twin, amd64Twin)
			p.ins("", "XORL %s, %s", amd64TwinFloat, amd64TwinFloat)
			p.WriteString("\nboth:\n")
			for _, a := range k.args {
				if a.step == stepHalf {
					p.ins("", "MOVQ %s, %s", amd64Twin, amd64TwinHalf)
					p.ins("", "SHRQ $1, %s", amd64TwinHalf)
				}
			}
		},
		jumpRow: func(label string) {
			if !p.twin {
				p.ins("", "DECQ %s", amd64Rows)
				p.ins("", "JNZ %s", label)
				return
			}
			for _, a := range k.args {
				switch {
				case a.kind != pointer:
				case a.step == stepBlock:
					p.ins("", "ADDQ %s, %s", amd64Twin, p.ptr[a])
				case a.step == stepHalf:
					p.ins("", "ADDQ %s, %s", amd64TwinHalf, p.ptr[a])
				case a.step == stepFloat:
					p.ins("", "ADDQ %s, %s", amd64TwinFloat, p.ptr[a])
				}
			}
			p.ins("", "SUBQ $2, %s", amd64Rows)
			p.ins("", "JGT %s", label)
		},
		begin: func() {
			p.accumulators(load)
			p.ins("", "MOVQ %s, %s", amd64Rows, amd64Count)
		},
		end: func(label string) {
			p.accumulators(store)
			for _, a := range k.args {
				switch {
				case a.kind == pointer && a.step == stepNone:
					p.ins("", "ADDQ $%d, %s", block*4, p.ptr[a])
				case a.step == stepStride:
					p.ins("", "SUBQ %s, %s", amd64Block, p.ptr[a])
					p.ins("", "ADDQ $%d, %s", block*4, p.ptr[a])
				case a.step == stepFloat:
					p.ins("", "MOVQ %s+%d(FP), %s", a.name, a.offset, p.ptr[a])
				}
			}
			p.ins("", "SUBQ $%d, %s", block, amd64N)
			p.ins("", "JNZ %s", label)
		},
	}, p.op, p.ptr)

	if k.columns == nil {
		p.accumulators(store)
	}
	p.ins("", "VZEROUPPER")
	p.WriteString("\tRET\n\n")
}

// accumulators calls f for every register of every accumulator that the caller has, and its place in memory. Half h of
// the float64 lanes of float32 register u follows that register's order.
func (p *amd64) accumulators(f func(reg, off int, ptr string)) {
	for _, v := range p.k.values {
		if v.kind != accumulator || v.from == nil {
			continue
		}
		for u, reg := range p.a.regs[v] {
			off := p.bytes() * u
			if v.wide > 0 {
				off = 2*p.bytes()*u + p.bytes()*(v.wide-1)
			}
			f(reg, off, p.ptr[v.from])
		}
	}
}

func (p *amd64) loadInvariant(v *value, reg int) {
	switch {
	case v.kind == constant && p.wide:
		p.ins(v.name, "VBROADCASTSS %s, %s", p.constant(v), p.v(reg))
	case v.kind == constant:
		p.ins(v.name, "VMOVUPS %s, %s", p.constant(v), p.v(reg))
	default:
		p.ins("", "VBROADCASTSS %s+%d(FP), %s", v.name, v.from.offset, p.v(reg))
	}
}

func (p *amd64) constant(v *value) string {
	return fmt.Sprintf("vectorConst<>+%d(SB)", constantSize*p.index[v.bits])
}

func (p *amd64) op(o op) {
	p.a.loads(p.k, p.i, p.loadInvariant)
	a, b := o.a, o.b
	fromMemory := func(v *value) bool {
		return v != nil && v.kind == constant && !p.a.resident[v] && p.inMemory(o, v)
	}
	if fromMemory(a) { // commutes
		a, b = b, a
	}
	suffix := ""
	if p.wide && fromMemory(b) {
		suffix = ".BCST"
	}
	src := func(v *value, u int) string {
		if fromMemory(v) {
			return p.constant(v)
		}
		return p.v(p.r(v, u))
	}
	each(p.width(o.result()), o.String(), func(u int, comment string) {
		var d int
		if o.dst != nil {
			d = p.r(o.dst, u)
		}
		if p.wide && p.maskOp(o, u, d, a, b, comment, suffix, src) {
			return
		}
		switch o.code {
		case opLoad:
			if p.k.columns != nil && u == 0 {
				p.ins("the next columns", "PREFETCHT0 %d(%s)", block*4, p.ptr[o.ptr])
			}
			p.ins(comment, "VMOVUPS %s, %s", p.at(o.ptr, u, p.bytes()), p.v(d))
		case opLoad1:
			p.ins(comment, "VBROADCASTSS %s, %s", p.at(o.ptr, u, 4), p.v(d))
		case opStore:
			p.ins(comment, "VMOVUPS %s, %s", p.v(p.r(a, u)), p.at(o.ptr, u, p.bytes()))
		case opStore1:
			p.ins(comment, "VMOVSS X%d, %s", p.r(a, u), p.at(o.ptr, u, 4))
		case opLoadHalf:
			p.ins(comment, "VCVTPH2PS %s, %s", p.at(o.ptr, u, p.bytes()/2), p.v(d))
		case opStoreHalf:
			p.ins(comment, "VMOVUPS %s, %s", p.half(p.r(a, u)), p.at(o.ptr, u, p.bytes()/2))
		case opToHalf:
			p.ins(comment, "VCVTPS2PH $0, %s, %s", p.v(p.r(a, u)), p.half(d))
		case opFold:
			p.fold(o, u, comment)
		case opZero:
			p.ins(comment, "VXORPS %s, %s, %s", p.v(d), p.v(d), p.v(d))
		case opSqrt:
			p.ins(comment, "VSQRTPS %s, %s", p.v(p.r(a, u)), p.v(d))
		case opLess:
			p.ins(comment, "VCMPPS $0x11, %s, Y%d, Y%d", src(b, u), p.r(a, u), d) // LT_OQ
		case opMulUnless:
			p.ins(comment, "VMULPS Y%d, Y%d, Y%d", p.r(b, u), p.r(a, u), d)
			p.ins("", "VANDNPS Y%d, Y%d, Y%d", d, p.r(o.c, u), d)
		case opShl:
			p.ins(comment, "VPSLLD $%d, %s, %s", o.imm, p.v(p.r(a, u)), p.v(d))
		case opShr:
			p.ins(comment, "VPSRLD $%d, %s, %s", o.imm, p.v(p.r(a, u)), p.v(d))
		case opSelect:
			p.ins(comment, "VBLENDVPS Y%d, Y%d, Y%d, Y%d", p.r(a, u), p.r(o.b, u), p.r(o.c, u), d)
		case opLow:
			p.ins(comment, "VCVTPS2PD %s, %s", p.half(p.r(a, u)), p.v(d))
		case opHigh:
			if p.wide {
				p.ins(comment, "VEXTRACTF64X4 $1, Z%d, Y%d", p.r(a, u), d)
			} else {
				p.ins(comment, "VEXTRACTF128 $1, Y%d, X%d", p.r(a, u), d)
			}
			p.ins("", "VCVTPS2PD %s, %s", p.half(d), p.v(d))
		default:
			p.ins(comment, "%s%s %s, %s, %s", amd64Op[o.code], suffix, src(b, u), p.v(p.r(a, u)), p.v(d))
		}
	})
}

// maskOp prints what AVX-512 does with mask registers, and says whether o is that.
func (p *amd64) maskOp(o op, u, d int, a, b *value, comment, suffix string, src func(*value, int) string) bool {
	switch {
	case o.code == opLess:
		predicate := 0x11 // LT_OQ
		if o.dst.unless {
			predicate = 0x15 // NLT_UQ
		}
		p.ins(comment, "VCMPPS%s $%#x, %s, Z%d, %s", suffix, predicate, src(b, u), p.r(a, u), p.mask(d))
	case o.code == opMulUnless:
		p.ins(comment, "VMULPS.Z Z%d, Z%d, %s, Z%d", p.r(b, u), p.r(a, u), p.mask(p.r(o.c, u)), d)
	case o.code == opSelect:
		p.ins(comment, "VBLENDMPS Z%d, Z%d, %s, Z%d", p.r(o.b, u), p.r(o.c, u), p.mask(p.r(a, u)), d)
	case o.code == opAnd && (a.mask || b.mask):
		if b.mask {
			a, b = b, a
		}
		p.ins(comment, "VMOVAPS.Z Z%d, %s, Z%d", p.r(b, u), p.mask(p.r(a, u)), d)
	default:
		return false
	}
	return true
}

// fold adds lane j+s to lane j, for s = 8, 4, 2, 1.
func (p *amd64) fold(o op, u int, comment string) {
	d, spare := p.r(o.dst, u), p.a.spare[p.i]
	if p.wide {
		acc := p.r(o.a, u)
		p.ins(comment, "VEXTRACTF64X4 $1, Z%d, Y%d", acc, spare)
		p.ins("", "VADDPS Y%d, Y%d, Y%d", spare, acc, d)
	} else {
		p.ins(comment, "VADDPS Y%d, Y%d, Y%d", p.r(o.a, 1), p.r(o.a, 0), d)
	}
	p.ins("", "VEXTRACTF128 $1, Y%d, X%d", d, spare)
	p.ins("", "VADDPS X%d, X%d, X%d", spare, d, d)
	p.ins("", "VMOVHLPS X%d, X%d, X%d", d, d, spare)
	p.ins("", "VADDPS X%d, X%d, X%d", spare, d, d)
	p.ins("", "VMOVSHDUP X%d, X%d", d, spare)
	p.ins("", "VADDSS X%d, X%d, X%d", spare, d, d)
	p.ins("", "VBROADCASTSS X%d, %s", d, p.v(d))
}
