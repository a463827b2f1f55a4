package main

import (
	"fmt"
	"slices"
)

// allocation says where each value lives.
type allocation struct {
	regs     map[*value][]int // one register, or one for each vector of a block; of a mask on AVX-512, mask registers
	resident map[*value]bool  // constants and arguments that keep a register for the whole loop
	scratch  []map[*value]int // by operation: where those that do not are loaded, one operation ahead
	spare    []int            // by operation: a register for the printer's own use
}

// target is what the allocator must know about an architecture.
type target interface {
	registers() int
	width(v *value) int // how many registers a value takes
	// inMemory says whether operand v of o, if not resident, is read from memory as it stands.
	inMemory(o op, v *value) bool
	// ownResult says whether o writes its result before it has read its operands.
	ownResult(o op) bool
	// needsSpare says whether o needs a register besides.
	needsSpare(o op) bool
	// masks is how many registers there are for what a comparison yields, 0 if that takes an ordinary one.
	masks() int
}

// allocate keeps as many constants and arguments in registers as there is room for.
func allocate(k *kernel, t target) (*allocation, error) {
	var invariant []*value
	for _, kind := range []valueKind{argument, constant} {
		for _, v := range k.values {
			if v.kind == kind {
				invariant = append(invariant, v)
			}
		}
	}
	var err error
	for n := len(invariant); n >= 0; n-- {
		var a *allocation
		if a, err = tryAllocate(k, t, invariant[:n]); err == nil {
			return a, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", k.name, err)
}

func tryAllocate(k *kernel, t target, resident []*value) (*allocation, error) {
	a := &allocation{regs: map[*value][]int{}, resident: map[*value]bool{}}
	free, freeMasks := slices.Repeat([]bool{true}, t.registers()), slices.Repeat([]bool{true}, t.masks())
	full := false
	takeFrom := func(free []bool, n int) []int {
		var regs []int
		for r := 0; r < len(free) && len(regs) < n; r++ {
			if free[r] {
				regs, free[r] = append(regs, r), false
			}
		}
		if len(regs) < n {
			full = true
			return make([]int, n)
		}
		return regs
	}
	take := func(n int) []int { return takeFrom(free, n) }
	inMask := func(v *value) bool { return v.mask && t.masks() > 0 }
	release := func(free []bool, regs ...int) {
		for _, r := range regs {
			free[r] = true
		}
	}
	for _, v := range k.values {
		if v.kind == accumulator {
			a.regs[v] = take(t.width(v))
		}
	}
	for _, v := range resident {
		a.regs[v], a.resident[v] = take(1), true
	}
	// last is the operation after which a value is not needed: what comes into a loop from outside stays through it.
	last, birth := map[*value]int{}, map[*value]int{}
	first := map[int]bool{}
	for s, run := range k.runs() {
		first[run.first] = true
		for i := run.first; i < k.end(s); i++ {
			o := k.ops[i]
			for _, v := range o.operands() {
				if last[v] = i; run.loop && birth[v] < run.first {
					last[v] = k.end(s) - 1
				}
			}
			if o.dst != nil {
				birth[o.dst] = i
			}
		}
	}
	// takeLoads finds registers for the operands of operation i that must be loaded for it.
	takeLoads := func(i int) {
		loads := map[*value]int{}
		for _, v := range k.ops[i].operands() {
			invariant := v.kind == constant || v.kind == argument
			if _, done := loads[v]; invariant && !done && !a.resident[v] && !t.inMemory(k.ops[i], v) {
				loads[v] = take(1)[0]
			}
		}
		a.scratch = append(a.scratch, loads)
	}
	for i, o := range k.ops {
		if first[i] {
			takeLoads(i)
		}
		if i+1 < len(k.ops) && !first[i+1] {
			takeLoads(i + 1) // one operation ahead, so that an in-order core need not wait for them
		}
		spare := -1
		if t.needsSpare(o) {
			spare = take(1)[0]
		}
		a.spare = append(a.spare, spare)

		if o.code == opSelect && t.masks() == 0 && last[o.a] != i {
			return nil, fmt.Errorf("the mask of %v is used again", o)
		}
		// The result moves into the registers of an operand that dies here, if it may.
		dying := map[*value]bool{}
		for v := range birth {
			if v.kind == temporary && last[v] == i && birth[v] < i {
				dying[v] = true
			}
		}
		if d := o.dst; d != nil && d.kind == temporary {
			for _, v := range o.operands() {
				mayReuse := !t.ownResult(o) || o.code == opSelect && v == o.a
				mayReuse = mayReuse && !(o.code == opMulUnless && v == o.c) // read after the product is there
				if mayReuse && dying[v] && t.width(v) == t.width(d) && inMask(v) == inMask(d) {
					a.regs[d] = a.regs[v]
					delete(dying, v)
					break
				}
			}
			switch {
			case a.regs[d] != nil:
			case inMask(d):
				a.regs[d] = takeFrom(freeMasks, t.width(d))
			default:
				a.regs[d] = take(t.width(d))
			}
		}
		for v := range dying {
			if inMask(v) {
				release(freeMasks, a.regs[v]...)
			} else {
				release(free, a.regs[v]...)
			}
		}
		for _, r := range a.scratch[i] {
			release(free, r)
		}
		if spare >= 0 {
			release(free, spare)
		}
	}
	if full {
		return nil, fmt.Errorf("out of registers with %d values resident", len(resident))
	}
	return a, nil
}

// loads lists what to load, and where, just before operation i: the operands of the next, and of the first of a section
// its own.
func (a *allocation) loads(k *kernel, i int, f func(v *value, reg int)) {
	list := func(i int) {
		seen := map[*value]bool{}
		for _, v := range k.ops[i].operands() {
			if reg, ok := a.scratch[i][v]; ok && !seen[v] {
				seen[v] = true
				f(v, reg)
			}
		}
	}
	begins := func(i int) bool {
		return slices.ContainsFunc(k.runs(), func(s section) bool { return s.first == i })
	}
	if begins(i) {
		list(i)
	}
	if i+1 < len(k.ops) && !begins(i+1) {
		list(i + 1)
	}
}

// reg returns the register of v for vector u of the block, at operation i.
func (a *allocation) reg(i int, v *value, u int) int {
	if r, ok := a.scratch[i][v]; ok {
		return r
	}
	if r := a.regs[v]; len(r) == 1 {
		return r[0]
	} else {
		return r[u]
	}
}
