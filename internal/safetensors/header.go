package safetensors

import (
	"math/bits"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// parser reads the JSON subset of a header: objects of strings and tensors, no deeper. Nothing recurses.
type parser struct {
	b []byte
	i int
}

// parseHeader reads and checks the header of a file with size bytes of data.
func parseHeader(header []byte, size int64) (*layout, error) {
	p := &parser{b: header}
	if header[0] != '{' {
		return nil, badFormat("header starts with %s where { is required", quote(string(header[:1])))
	}
	l := &layout{index: map[string]int{}}
	err := p.object("header", func(name string) error {
		if name == metaName {
			if l.metadata != nil {
				return badFormat("%s occurs twice", metaName)
			}
			return p.metadata(l)
		}
		if _, dup := l.index[name]; dup {
			return badTensor(name, "name occurs twice")
		}
		if len(l.entries) == maxCount {
			return badFormat("more than %d tensors", maxCount)
		}
		if name == "" {
			return badFormat("tensor %d has an empty name", len(l.entries))
		}
		if len(name) > maxName {
			return badTensor(name, "name has %d bytes, the limit is %d", len(name), maxName)
		}
		e, err := p.tensor(name)
		if err != nil {
			return err
		}
		l.index[name] = len(l.entries)
		l.entries = append(l.entries, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for ; p.i < len(p.b); p.i++ {
		if p.b[p.i] != ' ' {
			return nil, badFormat("header byte %d is %s after the closing }, where only spaces may follow",
				p.i, quote(string(p.b[p.i:p.i+1])))
		}
	}
	if err := l.arrange(size); err != nil {
		return nil, err
	}
	return l, nil
}

// object reads {"key": value, …} and calls value for each key with the cursor at the value.
func (p *parser) object(what string, value func(key string) error) error {
	if !p.take('{') {
		return p.expected("{ to open " + what)
	}
	if p.take('}') {
		return nil
	}
	for {
		key, err := p.str("a name in " + what)
		if err != nil {
			return err
		}
		if !p.take(':') {
			return p.expected(": after a name in " + what)
		}
		p.space()
		if err := value(key); err != nil {
			return err
		}
		if p.take('}') {
			return nil
		}
		if !p.take(',') {
			return p.expected(", or } in " + what)
		}
	}
}

func (p *parser) metadata(l *layout) error {
	l.metadata = map[string]string{}
	return p.object(metaName, func(key string) error {
		if _, dup := l.metadata[key]; dup {
			return badFormat("%s: key %s occurs twice", metaName, quote(key))
		}
		from := p.i + 1
		v, err := p.str("a string as value of " + quote(key) + " in " + metaName)
		if err != nil {
			return err
		}
		l.metadata[key] = v
		if key == sumKey {
			l.sum = span{from, p.i - 1}
		}
		return nil
	})
}

func (p *parser) tensor(name string) (entry, error) {
	e := entry{name: name}
	var offsets []int64
	err := p.object("the entry of tensor "+quote(name), func(field string) error {
		var err error
		switch field {
		case "dtype":
			if e.dtype != "" {
				return badTensor(name, "dtype occurs twice")
			}
			var s string
			if s, err = p.str("a string as dtype of tensor " + quote(name)); err != nil {
				return err
			}
			if e.dtype = DType(s); e.dtype.Size() == 0 {
				return badTensor(name, "unknown dtype %s", quote(s))
			}
		case "shape":
			if e.shape != nil {
				return badTensor(name, "shape occurs twice")
			}
			dims, err := p.numbers(name, "shape", maxRank)
			if err != nil {
				return err
			}
			e.shape = make([]int, len(dims))
			for i, d := range dims {
				if d > maxDim {
					return badTensor(name, "dimension %d is over the limit of %d", d, maxDim)
				}
				e.shape[i] = int(d)
			}
		case "data_offsets":
			if offsets != nil {
				return badTensor(name, "data_offsets occurs twice")
			}
			if offsets, err = p.numbers(name, "data_offsets", 2); err != nil {
				return err
			}
			if len(offsets) != 2 {
				return badTensor(name, "data_offsets has %d numbers, not 2", len(offsets))
			}
		default:
			return badTensor(name, "unknown field %s", quote(field))
		}
		return nil
	})
	if err != nil {
		return e, err
	}
	switch {
	case e.dtype == "":
		return e, badTensor(name, "dtype is missing")
	case e.shape == nil:
		return e, badTensor(name, "shape is missing")
	case offsets == nil:
		return e, badTensor(name, "data_offsets is missing")
	}
	e.from, e.to = offsets[0], offsets[1]
	if e.from > e.to {
		return e, badTensor(name, "data_offsets [%d,%d] run backwards", e.from, e.to)
	}
	want, ok := byteCount(e.dtype, e.shape)
	if !ok {
		return e, badTensor(name, "shape %v has more elements than can be counted", e.shape)
	}
	if uint64(e.to-e.from) != want {
		return e, badTensor(name, "%s of shape %v takes %d bytes, but data_offsets span %d", e.dtype, e.shape, want, e.to-e.from)
	}
	return e, nil
}

// byteCount is the size of an array in bytes, and whether that fits 64 bits.
func byteCount(d DType, shape []int) (uint64, bool) {
	n := uint64(d.Size())
	for _, dim := range shape {
		hi, lo := bits.Mul64(n, uint64(dim))
		if hi != 0 {
			return 0, false
		}
		n = lo
	}
	return n, true
}

// numbers reads an array of at most limit whole numbers below 2^63. The result is not nil.
func (p *parser) numbers(tensor, field string, limit int) ([]int64, error) {
	if !p.take('[') {
		return nil, badTensor(tensor, "%s must be an array of whole numbers", field)
	}
	out := make([]int64, 0, 4)
	if p.take(']') {
		return out, nil
	}
	for {
		p.space()
		if len(out) == limit {
			return nil, badTensor(tensor, "%s has more than %d numbers", field, limit)
		}
		from := p.i
		var n uint64
		for p.i < len(p.b) && p.b[p.i] >= '0' && p.b[p.i] <= '9' {
			if n >= 1<<63/10 {
				return nil, badTensor(tensor, "a number in %s is too large", field)
			}
			n = n*10 + uint64(p.b[p.i]-'0')
			p.i++
		}
		switch digits := p.i - from; {
		case digits == 0 && p.i < len(p.b) && p.b[p.i] == '-':
			return nil, badTensor(tensor, "%s holds a negative number", field)
		case digits == 0 || p.i < len(p.b) && strings.IndexByte(".eE", p.b[p.i]) >= 0:
			return nil, badTensor(tensor, "%s must hold whole numbers only", field)
		case digits > 1 && p.b[from] == '0':
			return nil, badTensor(tensor, "a number in %s starts with 0, which JSON forbids", field)
		}
		out = append(out, int64(n))
		if p.take(']') {
			return out, nil
		}
		if !p.take(',') {
			return nil, p.expected(", or ] in " + field + " of tensor " + quote(tensor))
		}
	}
}

// str reads a JSON string; what says in a message what should have been there.
func (p *parser) str(what string) (string, error) {
	p.space()
	if p.i >= len(p.b) || p.b[p.i] != '"' {
		return "", p.expected(what)
	}
	p.i++
	from := p.i
	for p.i < len(p.b) && p.b[p.i] != '"' && p.b[p.i] != '\\' && p.b[p.i] >= ' ' {
		p.i++
	}
	out := p.b[from:p.i:p.i] // full until an escape forces a copy
	for p.i < len(p.b) {
		c := p.b[p.i]
		p.i++
		switch {
		case c == '"':
			if !utf8.Valid(out) {
				return "", badFormat("header string at byte %d is not valid UTF-8", from)
			}
			return string(out), nil
		case c < ' ':
			return "", badFormat("header string at byte %d holds a raw control character", from)
		case c == '\\':
			var err error
			if out, err = p.escape(out, from); err != nil {
				return "", err
			}
		default:
			out = append(out, c)
		}
	}
	return "", badFormat("header string at byte %d never ends", from)
}

// escape appends what the escape sequence after a backslash stands for.
func (p *parser) escape(out []byte, from int) ([]byte, error) {
	if p.i >= len(p.b) {
		return nil, badFormat("header string at byte %d never ends", from)
	}
	c := p.b[p.i]
	p.i++
	if k := strings.IndexByte(`"\/bfnrt`, c); k >= 0 {
		return append(out, "\"\\/\b\f\n\r\t"[k]), nil
	}
	if c != 'u' {
		return nil, badFormat("header string at byte %d has the unknown escape \\%c", from, c)
	}
	r, ok := p.hex4()
	if !ok {
		return nil, badFormat("header string at byte %d has a \\u without four hexadecimal digits", from)
	}
	if utf16.IsSurrogate(r) {
		second := rune(-1)
		if p.i+1 < len(p.b) && p.b[p.i] == '\\' && p.b[p.i+1] == 'u' {
			p.i += 2
			second, _ = p.hex4()
		}
		if r = utf16.DecodeRune(r, second); r == utf8.RuneError {
			return nil, badFormat("header string at byte %d has half a surrogate pair", from)
		}
	}
	return utf8.AppendRune(out, r), nil
}

func (p *parser) hex4() (rune, bool) {
	if p.i+4 > len(p.b) {
		return 0, false
	}
	var r rune
	for _, c := range p.b[p.i : p.i+4] {
		k := strings.IndexByte("0123456789abcdef", c|0x20) // |0x20 lowers letters and leaves digits
		if k < 0 || c < '0' {
			return 0, false
		}
		r = r<<4 | rune(k)
	}
	p.i += 4
	return r, true
}

func (p *parser) space() {
	for p.i < len(p.b) && strings.IndexByte(" \t\n\r", p.b[p.i]) >= 0 {
		p.i++
	}
}

// take skips white space and then c, if it is next.
func (p *parser) take(c byte) bool {
	p.space()
	if p.i < len(p.b) && p.b[p.i] == c {
		p.i++
		return true
	}
	return false
}

func (p *parser) expected(what string) error {
	p.space()
	if p.i >= len(p.b) {
		return badFormat("header ends where %s is expected", what)
	}
	return badFormat("header byte %d is %s where %s is expected", p.i, quote(string(p.b[p.i:p.i+1])), what)
}
