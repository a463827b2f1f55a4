package safetensors

import (
	"encoding/binary"
	"math"

	"github.com/x448/float16"
)

// The constructors make tensors for Write. On little-endian machines Data is a view of v, so v must stay unchanged until
// the tensor is written. They panic when v does not fill shape.

// F32 makes a float32 tensor.
func F32(name string, shape []int, v []float32) Tensor { return numeric(name, TypeF32, shape, v) }

// I32 makes an int32 tensor.
func I32(name string, shape []int, v []int32) Tensor { return numeric(name, TypeI32, shape, v) }

// U32 makes a uint32 tensor.
func U32(name string, shape []int, v []uint32) Tensor { return numeric(name, TypeU32, shape, v) }

// I64 makes an int64 tensor.
func I64(name string, shape []int, v []int64) Tensor { return numeric(name, TypeI64, shape, v) }

// U64 makes a uint64 tensor.
func U64(name string, shape []int, v []uint64) Tensor { return numeric(name, TypeU64, shape, v) }

// F64 makes a float64 tensor.
func F64(name string, shape []int, v []float64) Tensor { return numeric(name, TypeF64, shape, v) }

// I8 makes an int8 tensor.
func I8(name string, shape []int, v []int8) Tensor { return numeric(name, TypeI8, shape, v) }

// U8 makes a byte tensor.
func U8(name string, shape []int, v []uint8) Tensor { return numeric(name, TypeU8, shape, v) }

// F16Bits makes a float16 tensor from bit patterns.
func F16Bits(name string, shape []int, v []uint16) Tensor { return numeric(name, TypeF16, shape, v) }

// F16 makes a float16 tensor from float32 values, rounded to nearest even. Data is a copy.
func F16(name string, shape []int, v []float32) Tensor {
	b := make([]byte, 2*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint16(b[2*i:], uint16(float16.Fromfloat32(x)))
	}
	return checked(Tensor{Name: name, DType: TypeF16, Shape: shape, Data: b})
}

// numeric makes a tensor whose Data is v's memory, or on big-endian machines its byte-swapped copy.
func numeric[T number](name string, d DType, shape []int, v []T) Tensor {
	if nativeLittle {
		return checked(Tensor{Name: name, DType: d, Shape: shape, Data: bytesOf(v)})
	}
	b, err := binary.Append(nil, binary.LittleEndian, v)
	if err != nil {
		panic("safetensors: fixed-size slice refused by encoding/binary")
	}
	return checked(Tensor{Name: name, DType: d, Shape: shape, Data: b})
}

func checked(t Tensor) Tensor {
	if t.Len()*t.DType.Size() != len(t.Data) {
		panic("safetensors: values do not fill the shape")
	}
	return t
}

// Float32s decodes an F32, F16 or BF16 tensor into dst, which has t.Len() elements.
func (t *Tensor) Float32s(dst []float32) error {
	if len(dst) != t.Len() {
		return t.bad("has %d elements of shape %v, but %d are wanted", t.Len(), t.Shape, len(dst))
	}
	if t.DType != TypeF32 && t.DType != TypeF16 && t.DType != TypeBF16 {
		return t.wrongType("F32, F16 or BF16")
	}
	if t.src != nil {
		return t.pieces(func(b []byte, first int) { decode(dst[first:], t.DType, b) })
	}
	decode(dst, t.DType, t.Data)
	return nil
}

// decode fills dst with the elements that b holds.
func decode(dst []float32, d DType, b []byte) {
	le, dst := binary.LittleEndian, dst[:len(b)/d.Size()]
	switch d {
	case TypeF32:
		for i := range dst {
			dst[i] = math.Float32frombits(le.Uint32(b[4*i:]))
		}
	case TypeF16:
		for i := range dst {
			dst[i] = float16.Frombits(le.Uint16(b[2*i:])).Float32()
		}
	case TypeBF16:
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(le.Uint16(b[2*i:])) << 16)
		}
	}
}

// Float32Data returns the elements of an F32 tensor, as a view of Data where the machine allows it, else as a copy: do
// not write to it. F16 and BF16 are decoded into a new slice.
func (t *Tensor) Float32Data() ([]float32, error) {
	if t.DType == TypeF32 && nativeLittle {
		if v, ok := viewOf[float32](t.Data); ok {
			return v, nil
		}
	}
	dst := make([]float32, t.Len())
	return dst, t.Float32s(dst)
}

// Int8Data returns the elements of an I8 tensor as a view of Data: do not write to it.
func (t *Tensor) Int8Data() ([]int8, error) {
	if t.DType != TypeI8 {
		return nil, t.wrongType("I8")
	}
	v, _ := viewOf[int8](t.Data)
	return v, nil
}

// Uint8Data returns the elements of a U8 tensor as a view of Data.
func (t *Tensor) Uint8Data() ([]uint8, error) {
	if t.DType != TypeU8 {
		return nil, t.wrongType("U8")
	}
	return t.Data, nil
}

// Half16Data returns the bit patterns of an F16 tensor, as a view of Data where the machine allows it, else as a copy.
func (t *Tensor) Half16Data() ([]uint16, error) { return numbersOf[uint16](t, TypeF16) }

// Int32Data returns the elements of an I32 tensor, as a view of Data where the machine allows it, else as a copy: do not
// write to it.
func (t *Tensor) Int32Data() ([]int32, error) { return numbersOf[int32](t, TypeI32) }

// Int64Data is Int32Data for I64.
func (t *Tensor) Int64Data() ([]int64, error) { return numbersOf[int64](t, TypeI64) }

// Uint64Data is Int32Data for U64.
func (t *Tensor) Uint64Data() ([]uint64, error) { return numbersOf[uint64](t, TypeU64) }

// Float64Data is Int32Data for F64.
func (t *Tensor) Float64Data() ([]float64, error) { return numbersOf[float64](t, TypeF64) }

// Int8s copies an I8 tensor into dst, which has t.Len() elements.
func (t *Tensor) Int8s(dst []int8) error { return copyInto(t, dst, t.Int8Data) }

// Int32s copies an I32 tensor into dst, which has t.Len() elements.
func (t *Tensor) Int32s(dst []int32) error { return copyInto(t, dst, t.Int32Data) }

// Int64s copies an I64 tensor into dst, which has t.Len() elements.
func (t *Tensor) Int64s(dst []int64) error { return copyInto(t, dst, t.Int64Data) }

// Uint64s copies a U64 tensor into dst, which has t.Len() elements.
func (t *Tensor) Uint64s(dst []uint64) error { return copyInto(t, dst, t.Uint64Data) }

func copyInto[T number](t *Tensor, dst []T, data func() ([]T, error)) error {
	v, err := data()
	if err != nil {
		return err
	}
	if len(v) != len(dst) {
		return t.bad("has %d elements of shape %v, but %d are wanted", len(v), t.Shape, len(dst))
	}
	copy(dst, v)
	return nil
}

func numbersOf[T number](t *Tensor, d DType) ([]T, error) {
	if t.DType != d {
		return nil, t.wrongType(string(d))
	}
	if nativeLittle {
		if v, ok := viewOf[T](t.Data); ok {
			return v, nil
		}
	}
	v := make([]T, t.Len())
	if _, err := binary.Decode(t.Data, binary.LittleEndian, v); err != nil {
		return nil, t.bad("%v", err)
	}
	return v, nil
}

// bad is an error about t, with the file it came from.
func (t *Tensor) bad(format string, args ...any) error {
	err := badTensor(t.Name, format, args...)
	err.Path = t.path
	return err
}

func (t *Tensor) wrongType(want string) error {
	return t.bad("is %s, but %s is wanted", t.DType, want)
}

// CheckFinite returns a *FormatError naming the first tensor with a NaN or an infinity, nil when there is none.
func (f *File) CheckFinite() error {
	for i := range f.Tensors {
		t := &f.Tensors[i]
		at := -1
		if t.src == nil {
			at = firstNonFinite(t.DType, t.Data)
		} else if err := t.pieces(func(b []byte, first int) {
			if k := firstNonFinite(t.DType, b); k >= 0 && at < 0 {
				at = first + k
			}
		}); err != nil {
			return err
		}
		if at >= 0 {
			return t.bad("element %d is not a finite number; training diverged or the file is damaged", at)
		}
	}
	return nil
}

// firstNonFinite is the index of the first element of b whose exponent bits are all ones, -1 if there is none.
func firstNonFinite(d DType, b []byte) int {
	le := binary.LittleEndian
	switch d {
	case TypeF16, TypeBF16:
		mask := uint16(0x7c00)
		if d == TypeBF16 {
			mask = 0x7f80
		}
		for i := 0; i+2 <= len(b); i += 2 {
			if le.Uint16(b[i:])&mask == mask {
				return i / 2
			}
		}
	case TypeF32:
		const mask = 0x7f800000
		for i := 0; i+4 <= len(b); i += 4 {
			if le.Uint32(b[i:])&mask == mask {
				return i / 4
			}
		}
	case TypeF64:
		const mask = 0x7ff << 52
		for i := 0; i+8 <= len(b); i += 8 {
			if le.Uint64(b[i:])&mask == mask {
				return i / 8
			}
		}
	}
	return -1
}
