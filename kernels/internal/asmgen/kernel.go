package main

import (
	"fmt"
	"slices"
)

// block is how many float32 one turn of every loop handles: two AVX2 registers, four NEON registers. It is also the
// number of virtual lanes of a sum (type lanes in package kernels), so that a register is a run of lanes.
const block = 16

// kernel is one vector routine: its arguments in frame order, and a list of operations in which every value is assigned
// once, accumulators excepted. Most are the body of one loop. A routine on rows has a loop over rows around several,
// and operations before, between and after them.
type kernel struct {
	name string
	doc  string // the loop, in the words of the Go version
	neon bool   // on arm64 only: amd64 has a routine by hand
	args []*arg
	ops  []op

	values   []*value
	consts   []*value
	count    *arg
	rowCount *arg      // of a routine on rows: how many
	sections []section // of a routine on rows
	columns  *arg      // of a routine that goes down one block of columns after the other: how many columns
}

// section is a run of operations, up to the next one's first.
type section struct {
	first int
	loop  bool // over the blocks of a row; otherwise once a row
}

// arg is one argument of the routine. The assembler takes g for a register, so no argument has that name.
type arg struct {
	name   string
	kind   argKind
	offset int  // in the frame
	step   step // how a pointer moves from turn to turn
	stride *arg // for stepStride
}

type argKind int

const (
	pointer argKind = iota
	integer
	scalar
)

type step int

const (
	stepBlock  step = iota // by one block
	stepNone               // accumulators stay
	stepStride             // to the next row, by the bytes in another argument
	stepFloat              // by one float32 a row
	stepAgain              // by one block, and back for the next row
	stepHalf               // by one block of halves
)

// value is what an operation yields: one register for each vector of a block, or a single one if it is the same
// everywhere (shared).
type value struct {
	name   string
	shared bool
	kind   valueKind
	bits   uint32 // of a constant
	from   *arg   // of a scalar or an accumulator
	wide   int    // of an accumulator: 0 for 32 bits; 1, 2 the low or high halves of float64
	mask   bool   // what a comparison yields
	unless bool   // of a mask: what opMulUnless asks for
	common bool   // the same for every row
}

type valueKind int

const (
	temporary valueKind = iota
	constant
	argument
	accumulator
)

// op is one operation on whole vectors; dst is nil for a store.
type op struct {
	code    opcode
	dst     *value
	a, b, c *value
	ptr     *arg
	imm     int
}

type opcode int

const (
	opLoad      opcode = iota
	opLoad1            // one float32 for all lanes
	opStore            //
	opAdd              // a + b
	opSub              // a - b
	opMul              // a * b
	opDiv              // a / b
	opSqrt             // sqrt(a)
	opMax              // a > b ? a : b
	opLess             // a < b ? all ones : 0
	opSelect           // bits of b where a is all ones, else of c
	opAnd              // a & b
	opShl              // a << imm, as uint32
	opAddInt           // a + b, as uint32
	opLow              // float64 of the lower half of a
	opHigh             // float64 of the upper half of a
	opAdd64            // a + b in float64
	opMul64            // a * b in float64
	opLoadHalf         // float32 of halves
	opToHalf           // halves of float32, to nearest even, in the lower half of the register
	opStoreHalf        // what opToHalf yields
	opXor              // a ^ b
	opShr              // a >> imm, as uint32
	opMulInt           // a * b, as uint32
	opMin              // a < b ? a : b; a is not NaN
	opZero             // 0
	opFold             // the sum of the lanes of a, as a tree: lanes.sum in package kernels
	opStore1           // the first lane
	opMulUnless        // c ? 0 : a * b
)

// String is the operation in Go's terms, for the comments of the listing.
func (o op) String() string {
	switch o.code {
	case opLoad, opLoad1, opLoadHalf:
		return fmt.Sprintf("%s = %s[]", o.dst.name, o.ptr.name)
	case opStore, opStoreHalf, opStore1:
		return fmt.Sprintf("%s[] = %s", o.ptr.name, o.a.name)
	case opZero:
		return fmt.Sprintf("%s = 0", o.dst.name)
	case opFold:
		return fmt.Sprintf("%s = sum of the lanes of %s", o.dst.name, o.a.name)
	case opToHalf:
		return fmt.Sprintf("%s = half(%s)", o.dst.name, o.a.name)
	case opSqrt:
		return fmt.Sprintf("%s = sqrt(%s)", o.dst.name, o.a.name)
	case opMax:
		return fmt.Sprintf("%s = %s > %s ? %s : %s", o.dst.name, o.a.name, o.b.name, o.a.name, o.b.name)
	case opMin:
		return fmt.Sprintf("%s = %s < %s ? %s : %s", o.dst.name, o.a.name, o.b.name, o.a.name, o.b.name)
	case opSelect:
		return fmt.Sprintf("%s = %s ? %s : %s", o.dst.name, o.a.name, o.b.name, o.c.name)
	case opMulUnless:
		return fmt.Sprintf("%s = %s ? 0 : %s * %s", o.dst.name, o.c.name, o.a.name, o.b.name)
	case opShl:
		return fmt.Sprintf("%s = %s << %d", o.dst.name, o.a.name, o.imm)
	case opShr:
		return fmt.Sprintf("%s = %s >> %d", o.dst.name, o.a.name, o.imm)
	case opLow:
		return fmt.Sprintf("%s = float64(%s), lower half", o.dst.name, o.a.name)
	case opHigh:
		return fmt.Sprintf("%s = float64(%s), upper half", o.dst.name, o.a.name)
	}
	sign := map[opcode]string{opAdd: "+", opSub: "-", opMul: "*", opDiv: "/", opLess: "<", opAnd: "&",
		opAddInt: "+", opAdd64: "+", opMul64: "*", opXor: "^", opMulInt: "*"}[o.code]
	if o.dst == o.a {
		return fmt.Sprintf("%s %s= %s", o.dst.name, sign, o.b.name)
	}
	return fmt.Sprintf("%s = %s %s %s", o.dst.name, o.a.name, sign, o.b.name)
}

func (o op) operands() []*value {
	var v []*value
	for _, x := range []*value{o.a, o.b, o.c} {
		if x != nil {
			v = append(v, x)
		}
	}
	return v
}

// runs returns the sections, which for most routines is one loop.
func (k *kernel) runs() []section {
	if k.sections == nil {
		return []section{{loop: true}}
	}
	return k.sections
}

// end returns where section s ends.
func (k *kernel) end(s int) int {
	if s+1 < len(k.sections) {
		return k.sections[s+1].first
	}
	return len(k.ops)
}

// walks reports whether section s reads or writes what a points to.
func (k *kernel) walks(a *arg, s int) bool {
	return slices.ContainsFunc(k.ops[k.runs()[s].first:k.end(s)], func(o op) bool { return o.ptr == a })
}

// walksAfter reports whether a section after s does.
func (k *kernel) walksAfter(a *arg, s int) bool {
	for s++; s < len(k.sections); s++ {
		if k.walks(a, s) {
			return true
		}
	}
	return false
}

// Arguments.

func (k *kernel) arg(name string, kind argKind, s step) *arg {
	a := &arg{name: name, kind: kind, step: s}
	if n := len(k.args); n > 0 {
		a.offset = k.args[n-1].offset + k.args[n-1].size()
		a.offset = (a.offset + a.size() - 1) / a.size() * a.size()
	}
	k.args = append(k.args, a)
	return a
}

func (a *arg) size() int {
	if a.kind == scalar {
		return 4
	}
	return 8
}

func (k *kernel) frame() int {
	last := k.args[len(k.args)-1]
	return last.offset + last.size()
}

// slice declares a pointer to a run of float32 that the loop walks through.
func (k *kernel) slice(name string) *arg { return k.arg(name, pointer, stepBlock) }

// halves declares a pointer to a run of halves that the loop walks through.
func (k *kernel) halves(name string) *arg { return k.arg(name, pointer, stepHalf) }

// column declares a pointer that moves from row to row; rows sets the stride.
func (k *kernel) column(name string) *arg { return k.arg(name, pointer, stepStride) }

// perRow declares a pointer to one float32 a row.
func (k *kernel) perRow(name string) *arg { return k.arg(name, pointer, stepFloat) }

// n declares the number of elements, a positive multiple of block.
func (k *kernel) n() { k.count = k.arg("n", integer, stepNone) }

// parameter declares a pointer to one float32 a column, the same for all rows.
func (k *kernel) parameter(name string) *arg { return k.arg(name, pointer, stepAgain) }

// eachRow declares the number of rows, positive, and that of elements in each, a positive multiple of block; what
// follows is done for each row.
func (k *kernel) eachRow() {
	k.rowCount = k.arg("rows", integer, stepNone)
	k.n()
	k.sections = []section{{}}
}

// eachBlock makes what body does a loop over the blocks of the row.
func (k *kernel) eachBlock(body func()) {
	k.sections = append(k.sections, section{first: len(k.ops), loop: true})
	body()
	k.sections = append(k.sections, section{first: len(k.ops)})
}

// rows declares the number of rows, positive, and the distance between them in bytes.
func (k *kernel) rows() {
	k.count = k.arg("rows", integer, stepNone)
	stride := k.arg("stride", integer, stepNone)
	for _, a := range k.args {
		if a.step == stepStride {
			a.stride = stride
		}
	}
}

// eachColumnBlock declares the number of columns, a positive multiple of block: all is done for one block after the
// other, with lanes of its own.
func (k *kernel) eachColumnBlock() { k.columns = k.arg("cols", integer, stepNone) }

func (k *kernel) add1(v *value) *value {
	k.values = append(k.values, v)
	return v
}

// scalar declares an argument of 32 bits.
func (k *kernel) scalar(name string) *value {
	return k.add1(&value{name: name, shared: true, common: true, kind: argument, from: k.arg(name, scalar, stepNone)})
}

// sum starts an accumulator of this row at zero.
func (k *kernel) sum(name string) *value {
	v := k.add1(&value{name: name, kind: accumulator})
	return k.emit(op{code: opZero, dst: v})
}

// fold returns the sum of an accumulator's lanes.
func (k *kernel) fold(name string, acc *value) *value {
	return k.emit(op{code: opFold, dst: k.add1(&value{name: name, shared: true}), a: acc})
}

// lanes declares a pointer to one float32 or uint32 a lane: an accumulator, read before the loop and written after it.
func (k *kernel) lanes(name string) *value {
	return k.add1(&value{name: name, kind: accumulator, from: k.arg(name, pointer, stepNone)})
}

// lanes64 declares a pointer to one float64 a lane, and returns the accumulators of the lower and the upper halves.
func (k *kernel) lanes64(name string) (low, high *value) {
	a := k.arg(name, pointer, stepNone)
	low = k.add1(&value{name: name, kind: accumulator, from: a, wide: 1})
	return low, k.add1(&value{name: name, kind: accumulator, from: a, wide: 2})
}

// bits returns the constant with these bits.
func (k *kernel) bits(name string, bits uint32) *value {
	for _, c := range k.consts {
		if c.bits == bits {
			return c
		}
	}
	c := k.add1(&value{name: name, shared: true, common: true, kind: constant, bits: bits})
	k.consts = append(k.consts, c)
	return c
}

// Operations. Each names its result.

func (k *kernel) emit(o op) *value {
	k.ops = append(k.ops, o)
	return o.dst
}

func (k *kernel) binary(code opcode, name string, a, b *value) *value {
	shared := a.shared && (b == nil || b.shared)
	common := a.common && (b == nil || b.common)
	dst := &value{name: name, shared: shared, common: common, mask: code == opLess}
	return k.emit(op{code: code, dst: k.add1(dst), a: a, b: b})
}

func (k *kernel) load(p *arg) *value {
	return k.emit(op{code: opLoad, dst: k.add1(&value{name: p.name, common: p.step == stepAgain}), ptr: p})
}

func (k *kernel) load1(p *arg) *value {
	return k.emit(op{code: opLoad1, dst: k.add1(&value{name: p.name, shared: true}), ptr: p})
}

func (k *kernel) store1(p *arg, v *value) { k.emit(op{code: opStore1, a: v, ptr: p}) }

func (k *kernel) store(p *arg, v *value) { k.emit(op{code: opStore, a: v, ptr: p}) }

func (k *kernel) loadHalf(p *arg) *value {
	return k.emit(op{code: opLoadHalf, dst: k.add1(&value{name: p.name}), ptr: p})
}

func (k *kernel) storeHalf(p *arg, v *value) {
	k.emit(op{code: opStoreHalf, a: k.binary(opToHalf, "h", v, nil), ptr: p})
}

func (k *kernel) add(name string, a, b *value) *value    { return k.binary(opAdd, name, a, b) }
func (k *kernel) sub(name string, a, b *value) *value    { return k.binary(opSub, name, a, b) }
func (k *kernel) mul(name string, a, b *value) *value    { return k.binary(opMul, name, a, b) }
func (k *kernel) div(name string, a, b *value) *value    { return k.binary(opDiv, name, a, b) }
func (k *kernel) max(name string, a, b *value) *value    { return k.binary(opMax, name, a, b) }
func (k *kernel) min(name string, a, b *value) *value    { return k.binary(opMin, name, a, b) }
func (k *kernel) less(name string, a, b *value) *value   { return k.binary(opLess, name, a, b) }
func (k *kernel) and(name string, a, b *value) *value    { return k.binary(opAnd, name, a, b) }
func (k *kernel) addInt(name string, a, b *value) *value { return k.binary(opAddInt, name, a, b) }
func (k *kernel) mulInt(name string, a, b *value) *value { return k.binary(opMulInt, name, a, b) }
func (k *kernel) xor(name string, a, b *value) *value    { return k.binary(opXor, name, a, b) }
func (k *kernel) mul64(name string, a, b *value) *value  { return k.binary(opMul64, name, a, b) }
func (k *kernel) sqrt(name string, a *value) *value      { return k.binary(opSqrt, name, a, nil) }
func (k *kernel) low(name string, a *value) *value       { return k.binary(opLow, name, a, nil) }
func (k *kernel) high(name string, a *value) *value      { return k.binary(opHigh, name, a, nil) }

func (k *kernel) shl(name string, a *value, n int) *value {
	return k.emit(op{code: opShl, dst: k.add1(&value{name: name}), a: a, imm: n})
}

func (k *kernel) shr(name string, a *value, n int) *value {
	return k.emit(op{code: opShr, dst: k.add1(&value{name: name}), a: a, imm: n})
}

// choose returns mask ? a : b; it must be the mask's last use.
func (k *kernel) choose(name string, mask, a, b *value) *value {
	return k.emit(op{code: opSelect, dst: k.add1(&value{name: name}), a: mask, b: a, c: b})
}

// mulUnless returns mask ? 0 : a*b; it must be the mask's only use.
func (k *kernel) mulUnless(name string, a, b, mask *value) *value {
	mask.unless = true
	return k.emit(op{code: opMulUnless, dst: k.add1(&value{name: name}), a: a, b: b, c: mask})
}

// accumulate is acc += v.
func (k *kernel) accumulate(acc, v *value) { k.emit(op{code: opAdd, dst: acc, a: acc, b: v}) }

// accumulateInt is acc += v, as uint32.
func (k *kernel) accumulateInt(acc, v *value) { k.emit(op{code: opAddInt, dst: acc, a: acc, b: v}) }

// accumulate64 is acc += v in float64.
func (k *kernel) accumulate64(acc, v *value) { k.emit(op{code: opAdd64, dst: acc, a: acc, b: v}) }

// accumulateMax is acc = v > acc ? v : acc.
func (k *kernel) accumulateMax(acc, v *value) { k.emit(op{code: opMax, dst: acc, a: v, b: acc}) }
