package i8

// PanelsLen returns how many int8 and int32 the packed form of a [n, k] operand takes at most, whatever the machine.
func PanelsLen(k, n int) (data, start int) {
	for i := range geometries {
		l := &geometries[i]
		np := roundUp(n, l.width)
		data, start = max(data, np*roundUp(k, l.unit)), max(start, np)
	}
	return data, start
}

// SetMemory gives p the memory that Pack uses: of PanelsLen of the largest operand, Pack then allocates nothing.
func (p *Panels) SetMemory(data []int8, start []int32) { p.data, p.start = data, start }
