package main

import "fmt"

// amd64 prints AVX2 and F16C without FMA: Y registers, operands last to first.
type amd64 struct {
	printer
	index map[uint32]int
	ptr   map[*arg]string
}

func (*amd64) registers() int { return 16 }
func (*amd64) vectors() int   { return block / 8 }

// inMemory: constants are laid out 32 bytes wide, so the second operand may be one; multiplication and addition commute.
func (*amd64) inMemory(o op, v *value) bool {
	if v.kind != constant {
		return false
	}
	switch o.code {
	case opAdd, opMul, opAnd, opAddInt, opXor, opMulInt:
		return o.a != o.b
	case opSub, opDiv, opMax, opLess:
		return v == o.b && v != o.a
	}
	return false
}

func (*amd64) ownResult(op) bool  { return false }
func (*amd64) needsSpare(op) bool { return false }

var amd64Pointers = []string{"DI", "SI", "DX", "BX", "R8", "R9", "R10", "R11"}

// amd64Op holds the instructions that are dst = a op b, written "op b, a, dst".
var amd64Op = map[opcode]string{opAdd: "VADDPS", opSub: "VSUBPS", opMul: "VMULPS", opDiv: "VDIVPS", opMax: "VMAXPS",
	opAnd: "VANDPS", opAddInt: "VPADDD", opAdd64: "VADDPD", opMul64: "VMULPD", opXor: "VXORPS", opMulInt: "VPMULLD", opMin: "VMINPS"}

func printAMD64(list []*kernel) ([]byte, error) {
	p := &amd64{}
	p.WriteString(header)
	var all []*value
	all, p.index = constants(list)
	p.table(all, 32)
	for _, k := range list {
		a, err := allocate(k, p)
		if err != nil {
			return nil, fmt.Errorf("amd64: %w", err)
		}
		p.k, p.a = k, a
		p.routine()
	}
	return p.Bytes(), nil
}

func (p *amd64) routine() {
	k := p.k
	p.text()
	p.ptr = map[*arg]string{}
	var stride string
	for _, a := range k.args {
		switch {
		case a == k.count:
			p.ins("", "MOVQ %s+%d(FP), CX", a.name, a.offset)
		case a.kind == integer:
			stride = "AX"
			p.ins("", "MOVQ %s+%d(FP), %s", a.name, a.offset, stride)
		case a.kind == pointer:
			p.ptr[a] = amd64Pointers[len(p.ptr)]
			p.ins("", "MOVQ %s+%d(FP), %s", a.name, a.offset, p.ptr[a])
		}
	}
	for _, v := range k.values {
		if p.a.resident[v] {
			p.loadInvariant(v, p.a.regs[v][0])
		}
	}
	p.accumulators(func(reg, off int, ptr string) { p.ins("", "VMOVUPS %d(%s), Y%d", off, ptr, reg) })

	fmt.Fprintf(p, "\n\tPCALIGN $32\nloop:\n")
	for i, o := range k.ops {
		p.i = i
		p.op(o)
	}
	for _, a := range k.args {
		if a.kind != pointer {
			continue
		}
		switch a.step {
		case stepBlock:
			p.ins("", "ADDQ $%d, %s", block*4, p.ptr[a])
		case stepFloat:
			p.ins("", "ADDQ $4, %s", p.ptr[a])
		case stepHalf:
			p.ins("", "ADDQ $%d, %s", block*2, p.ptr[a])
		case stepStride:
			p.ins("", "ADDQ %s, %s", stride, p.ptr[a])
		}
	}
	by := block
	if k.count.name == "rows" {
		by = 1
	}
	p.ins("", "SUBQ $%d, CX", by)
	p.ins("", "JNZ loop")
	p.WriteString("\n")

	p.accumulators(func(reg, off int, ptr string) { p.ins("", "VMOVUPS Y%d, %d(%s)", reg, off, ptr) })
	p.ins("", "VZEROUPPER")
	p.WriteString("\tRET\n\n")
}

// accumulators calls f for every register of every accumulator and its place in memory. Half h of the float64 lanes of
// float32 register u follows that register's order.
func (p *amd64) accumulators(f func(reg, off int, ptr string)) {
	for _, v := range p.k.values {
		if v.kind != accumulator {
			continue
		}
		for u, reg := range p.a.regs[v] {
			off := 32 * u
			if v.wide > 0 {
				off = 64*u + 32*(v.wide-1)
			}
			f(reg, off, p.ptr[v.from])
		}
	}
}

func (p *amd64) loadInvariant(v *value, reg int) {
	if v.kind == constant {
		p.ins(v.name, "VMOVUPS %s, Y%d", p.constant(v), reg)
	} else {
		p.ins("", "VBROADCASTSS %s+%d(FP), Y%d", v.name, v.from.offset, reg)
	}
}

func (p *amd64) constant(v *value) string {
	return fmt.Sprintf("vectorConst<>+%d(SB)", 32*p.index[v.bits])
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
	src := func(v *value, u int) string {
		if fromMemory(v) {
			return p.constant(v)
		}
		return fmt.Sprintf("Y%d", p.r(v, u))
	}
	n := p.vectors()
	if o.dst != nil && o.dst.shared {
		n = 1
	}
	each(n, o.String(), func(u int, comment string) {
		var d int
		if o.dst != nil {
			d = p.r(o.dst, u)
		}
		switch o.code {
		case opLoad:
			p.ins(comment, "VMOVUPS %d(%s), Y%d", 32*u, p.ptr[o.ptr], d)
		case opLoad1:
			p.ins(comment, "VBROADCASTSS (%s), Y%d", p.ptr[o.ptr], d)
		case opStore:
			p.ins(comment, "VMOVUPS Y%d, %d(%s)", p.r(a, u), 32*u, p.ptr[o.ptr])
		case opLoadHalf:
			p.ins(comment, "VCVTPH2PS %d(%s), Y%d", 16*u, p.ptr[o.ptr], d)
		case opStoreHalf:
			p.ins(comment, "VMOVUPS X%d, %d(%s)", p.r(a, u), 16*u, p.ptr[o.ptr])
		case opToHalf:
			p.ins(comment, "VCVTPS2PH $0, Y%d, X%d", p.r(a, u), d)
		case opSqrt:
			p.ins(comment, "VSQRTPS Y%d, Y%d", p.r(a, u), d)
		case opLess:
			p.ins(comment, "VCMPPS $0x11, %s, Y%d, Y%d", src(b, u), p.r(a, u), d) // LT_OQ
		case opAndNot:
			p.ins(comment, "VANDNPS Y%d, Y%d, Y%d", p.r(a, u), p.r(b, u), d)
		case opShl:
			p.ins(comment, "VPSLLD $%d, Y%d, Y%d", o.imm, p.r(a, u), d)
		case opShr:
			p.ins(comment, "VPSRLD $%d, Y%d, Y%d", o.imm, p.r(a, u), d)
		case opSelect:
			p.ins(comment, "VBLENDVPS Y%d, Y%d, Y%d, Y%d", p.r(a, u), p.r(o.b, u), p.r(o.c, u), d)
		case opLow:
			p.ins(comment, "VCVTPS2PD X%d, Y%d", p.r(a, u), d)
		case opHigh:
			p.ins(comment, "VEXTRACTF128 $1, Y%d, X%d", p.r(a, u), d)
			p.ins("", "VCVTPS2PD X%d, Y%d", d, d)
		default:
			p.ins(comment, "%s %s, Y%d, Y%d", amd64Op[o.code], src(b, u), p.r(a, u), d)
		}
	})
}
