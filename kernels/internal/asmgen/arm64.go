package main

import "fmt"

// arm64 prints ARMv8.0 Advanced SIMD. Go's assembler lacks the vector arithmetic, so the listing begins with macros that
// encode it; they take register numbers in ARM's order, the result first, where Go's own instructions have it last.
type arm64 struct {
	printer
	index map[uint32]int
	ptr   map[*arg]string
}

// arm64Macro holds the encodings with all register fields zero: dst in bits 0-4, n in 5-9, m in 16-20.
var arm64Macro = []struct {
	name  string
	base  uint32
	unary bool
	what  string
}{
	{"FADD4S", 0x4e20d400, false, "d = n + m"},
	{"FSUB4S", 0x4ea0d400, false, "d = n - m"},
	{"FMUL4S", 0x6e20dc00, false, "d = n * m"},
	{"FDIV4S", 0x6e20fc00, false, "d = n / m"},
	{"FSQRT4S", 0x6ea1f800, true, "d = sqrt(n)"},
	{"FCMGT4S", 0x6ea0e400, false, "d = n > m ? all ones : 0"},
	{"BIC16B", 0x4e601c00, false, "d = n &^ m"},
	{"FCVTL2D", 0x0e617800, true, "d = float64(lower half of n)"},
	{"FCVTL2D2", 0x4e617800, true, "d = float64(upper half of n)"},
	{"FADD2D", 0x4e60d400, false, "d = n + m, float64"},
	{"FMUL2D", 0x6e60dc00, false, "d = n * m, float64"},
	{"MUL4S", 0x4ea09c00, false, "d = n * m, uint32"},
	{"FMIN4S", 0x4ea0f400, false, "d = n < m ? n : m, NaN if either is"},
	{"FCVTL4S", 0x0e217800, true, "d = float32(four halves, the lower half of n)"},
	{"FCVTN4H", 0x0e216800, true, "lower half of d = halves(n)"},
}

// arm64Op holds the operations that are one of these macros.
var arm64Op = map[opcode]string{opAdd: "FADD4S", opSub: "FSUB4S", opMul: "FMUL4S", opDiv: "FDIV4S",
	opAdd64: "FADD2D", opMul64: "FMUL2D", opMulInt: "MUL4S", opMin: "FMIN4S"}

func (*arm64) registers() int           { return 32 }
func (*arm64) width(v *value) int       { return width(v, block/4) }
func (*arm64) inMemory(op, *value) bool { return false }
func (*arm64) ownResult(o op) bool      { return o.code == opMax || o.code == opSelect }
func (*arm64) needsSpare(o op) bool     { return o.code == opMax && o.dst == o.b || o.code == opFold }
func (*arm64) masks() int               { return 0 }

const (
	arm64Count = "R9"
	arm64Bytes = "R10" // of a row, or from row to row
	arm64Table = "R11"
	arm64Rows  = "R12"
	arm64N     = "R13" // of a row, or columns left
	arm64Block = "R14" // bytes from a column down to the end of its rows
)

func printARM64(list []*kernel) ([]byte, error) {
	p := &arm64{}
	p.WriteString(header)
	for _, m := range arm64Macro {
		if m.unary {
			fmt.Fprintf(p, "#define %s(d, n) WORD $(0x%08x | (d) | (n)<<5) // %s\n", m.name, m.base, m.what)
		} else {
			fmt.Fprintf(p, "#define %s(d, n, m) WORD $(0x%08x | (d) | (n)<<5 | (m)<<16) // %s\n", m.name, m.base, m.what)
		}
	}
	p.WriteString("\n")
	var all []*value
	all, p.index = constants(list)
	p.table(all, 16)
	for _, k := range list {
		a, err := allocate(k, p)
		if err != nil {
			return nil, fmt.Errorf("arm64: %w", err)
		}
		p.k, p.a = k, a
		p.routine()
	}
	return p.Bytes(), nil
}

func (p *arm64) routine() {
	k := p.k
	p.text("·" + k.name)
	p.ptr = map[*arg]string{}
	for _, a := range k.args {
		to := ""
		switch {
		case a == k.rowCount, a == k.count && k.columns != nil:
			to = arm64Rows
		case a == k.columns:
			to = arm64N
		case a == k.count && k.rowCount != nil:
			to = arm64N
		case a == k.count:
			to = arm64Count
		case a.kind == integer:
			to = arm64Bytes
		case a.kind == pointer:
			to = fmt.Sprintf("R%d", len(p.ptr))
			p.ptr[a] = to
		default:
			continue
		}
		p.ins("", "MOVD %s+%d(FP), %s", a.name, a.offset, to)
	}
	if k.rowCount != nil {
		p.ins("", "LSL $2, %s, %s", arm64N, arm64Bytes)
	}
	if k.usesConstants() {
		p.ins("", "MOVD $vectorConst<>(SB), %s", arm64Table)
	}
	for _, v := range k.values {
		if p.a.resident[v] {
			p.loadInvariant(v, p.a.regs[v][0])
		}
	}
	load := func(reg, off int, ptr string) { p.ins("", "FMOVQ %d(%s), F%d", off, ptr, reg) }
	store := func(reg, off int, ptr string) { p.ins("", "FMOVQ F%d, %d(%s)", reg, off, ptr) }
	if k.columns != nil {
		p.ins("", "MUL %s, %s, %s", arm64Bytes, arm64Rows, arm64Block)
	} else {
		p.accumulators(load)
	}

	p.body(loopSyntax{
		align: "PCALIGN $16", start: fmt.Sprintf("MOVD %s, %s", arm64N, arm64Count),
		add:  func(n int, ptr string) { p.ins("", "ADD $%d, %s", n, ptr) },
		next: func(ptr string) { p.ins("", "ADD %s, %s", arm64Bytes, ptr) },
		back: func(ptr string) { p.ins("", "SUB %s, %s", arm64Bytes, ptr) },
		jump: func(by int, label string) { p.ins("", "SUBS $%d, %s", by, arm64Count); p.ins("", "BNE %s", label) },
		jumpRow: func(label string) {
			p.ins("", "SUBS $1, %s", arm64Rows)
			p.ins("", "BNE %s", label)
		},
		row: func() {},
		begin: func() {
			p.accumulators(load)
			p.ins("", "MOVD %s, %s", arm64Rows, arm64Count)
		},
		end: func(label string) {
			p.accumulators(store)
			for _, a := range k.args {
				switch {
				case a.kind == pointer && a.step == stepNone:
					p.ins("", "ADD $%d, %s", block*4, p.ptr[a])
				case a.step == stepStride:
					p.ins("", "SUB %s, %s", arm64Block, p.ptr[a])
					p.ins("", "ADD $%d, %s", block*4, p.ptr[a])
				case a.step == stepFloat:
					p.ins("", "MOVD %s+%d(FP), %s", a.name, a.offset, p.ptr[a])
				}
			}
			p.ins("", "SUBS $%d, %s", block, arm64N)
			p.ins("", "BNE %s", label)
		},
	}, p.op, p.ptr)

	if k.columns == nil {
		p.accumulators(store)
	}
	p.WriteString("\tRET\n\n")
}

// accumulators is as on amd64, with registers half as wide.
func (p *arm64) accumulators(f func(reg, off int, ptr string)) {
	for _, v := range p.k.values {
		if v.kind != accumulator || v.from == nil {
			continue
		}
		for u, reg := range p.a.regs[v] {
			off := 16 * u
			if v.wide > 0 {
				off = 32*u + 16*(v.wide-1)
			}
			f(reg, off, p.ptr[v.from])
		}
	}
}

func (p *arm64) loadInvariant(v *value, reg int) {
	if v.kind == constant {
		p.ins(v.name, "FMOVQ %d(%s), F%d", 16*p.index[v.bits], arm64Table, reg)
	} else {
		p.ins("", "FMOVS %s+%d(FP), F%d", v.name, v.from.offset, reg)
		p.ins("", "VDUP V%d.S[0], V%d.S4", reg, reg)
	}
}

func (p *arm64) op(o op) {
	p.a.loads(p.k, p.i, p.loadInvariant)
	if o.code == opFold {
		p.fold(o)
		return
	}
	n := p.width(o.result())
	each(n, o.String(), func(u int, comment string) {
		r := func(v *value) int { return p.r(v, u) }
		var d int
		if o.dst != nil {
			d = r(o.dst)
		}
		switch o.code {
		case opLoad:
			p.ins(comment, "FMOVQ %d(%s), F%d", 16*u, p.ptr[o.ptr], d)
		case opLoad1:
			p.ins(comment, "VLD1R (%s), [V%d.S4]", p.ptr[o.ptr], d)
		case opStore:
			p.ins(comment, "FMOVQ F%d, %d(%s)", r(o.a), 16*u, p.ptr[o.ptr])
		case opStore1:
			p.ins(comment, "FMOVS F%d, (%s)", r(o.a), p.ptr[o.ptr])
		case opZero:
			p.ins(comment, "VEOR V%d.B16, V%d.B16, V%d.B16", d, d, d)
		case opLoadHalf:
			p.ins(comment, "FMOVD %d(%s), F%d", 8*u, p.ptr[o.ptr], d)
		case opStoreHalf:
			p.ins(comment, "FMOVD F%d, %d(%s)", r(o.a), 8*u, p.ptr[o.ptr])
		case opToHalf:
			p.ins(comment, "FCVTN4H(%d, %d)", d, r(o.a))
		case opSqrt:
			p.ins(comment, "FSQRT4S(%d, %d)", d, r(o.a))
		case opLess:
			p.ins(comment, "FCMGT4S(%d, %d, %d)", d, r(o.b), r(o.a))
		case opMax:
			// FMAX would let a NaN through.
			if d == r(o.b) {
				p.ins(comment, "FCMGT4S(%d, %d, %d)", p.a.spare[p.i], r(o.a), r(o.b))
				p.ins("", "VBIT V%d.B16, V%d.B16, V%d.B16", p.a.spare[p.i], r(o.a), d)
			} else {
				p.ins(comment, "FCMGT4S(%d, %d, %d)", d, r(o.a), r(o.b))
				p.ins("", "VBSL V%d.B16, V%d.B16, V%d.B16", r(o.b), r(o.a), d)
			}
		case opSelect:
			p.ins(comment, "VBSL V%d.B16, V%d.B16, V%d.B16", r(o.c), r(o.b), d)
		case opMulUnless:
			p.ins(comment, "FMUL4S(%d, %d, %d)", d, r(o.a), r(o.b))
			p.ins("", "BIC16B(%d, %d, %d)", d, d, r(o.c))
		case opAnd:
			p.ins(comment, "VAND V%d.B16, V%d.B16, V%d.B16", r(o.b), r(o.a), d)
		case opShl:
			p.ins(comment, "VSHL $%d, V%d.S4, V%d.S4", o.imm, r(o.a), d)
		case opShr:
			p.ins(comment, "VUSHR $%d, V%d.S4, V%d.S4", o.imm, r(o.a), d)
		case opXor:
			p.ins(comment, "VEOR V%d.B16, V%d.B16, V%d.B16", r(o.b), r(o.a), d)
		case opAddInt:
			p.ins(comment, "VADD V%d.S4, V%d.S4, V%d.S4", r(o.b), r(o.a), d)
		case opLow:
			p.ins(comment, "FCVTL2D(%d, %d)", d, r(o.a))
		case opHigh:
			p.ins(comment, "FCVTL2D2(%d, %d)", d, r(o.a))
		default:
			p.ins(comment, "%s(%d, %d, %d)", arm64Op[o.code], d, r(o.a), r(o.b))
		}
	})
	if o.code == opLoadHalf { // after all loads, so that an in-order core need not wait for each
		each(n, "", func(u int, _ string) { p.ins("", "FCVTL4S(%d, %d)", p.r(o.dst, u), p.r(o.dst, u)) })
	}
}

// fold adds lane j+s to lane j, for s = 8, 4, 2, 1.
func (p *arm64) fold(o op) {
	d, spare := p.r(o.dst, 0), p.a.spare[p.i]
	p.ins(o.String(), "FADD4S(%d, %d, %d)", d, p.r(o.a, 0), p.r(o.a, 2))
	p.ins("", "FADD4S(%d, %d, %d)", spare, p.r(o.a, 1), p.r(o.a, 3))
	p.ins("", "FADD4S(%d, %d, %d)", d, d, spare)
	p.ins("", "VEXT $8, V%d.B16, V%d.B16, V%d.B16", d, d, spare)
	p.ins("", "FADD4S(%d, %d, %d)", d, d, spare)
	p.ins("", "VDUP V%d.S[1], V%d.S4", d, spare)
	p.ins("", "FADD4S(%d, %d, %d)", d, d, spare)
	p.ins("", "VDUP V%d.S[0], V%d.S4", d, d)
}
