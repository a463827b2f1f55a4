package emulator

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
)

// nop is the instruction that does nothing.
const nop = 0xd503201f

// products are the instructions that multiply and add in the tile routines: what their words are under a mask.
var products = []struct{ mask, word uint32 }{
	{0xffe0fc00, 0x4e20cc00}, // FMLA .4S
	{0xffc0f400, 0x4f801000}, // FMLA .4S by element
	{0xffe0fc00, 0x4e809400}, // SDOT
	{0xffc0f400, 0x4f80e000}, // SDOT by element
	{0xbfe0fc00, 0x0e20c000}, // SMULL, SMULL2 of bytes
	{0xbfe0fc00, 0x0e208000}, // SMLAL, SMLAL2 of bytes
	{0xfffffc00, 0x4e606800}, // SADALP .4S
}

func multiplies(word uint32) bool {
	for _, p := range products {
		if word&p.mask == p.word {
			return true
		}
	}
	return false
}

// SkipProducts replaces the multiply-adds of the tile routines by instructions that do nothing, in the program's file.
// Emulating them takes most of the time, and which instructions run hardly depends on what they compute: the results are
// nonsense, the counts are right to a few thousandths.
func (m *Machine) SkipProducts() error {
	f, err := elf.Open(m.Program)
	if err != nil {
		return err
	}
	defer f.Close()
	code := f.Section(".text")
	if code == nil {
		return fmt.Errorf("%s has no .text", m.Program)
	}
	text, err := code.Data()
	if err != nil {
		return err
	}
	skipped := 0
	for _, s := range m.Symbols {
		if !strings.HasPrefix(s.Name, "edgejepa/kernels.tile") && !strings.HasPrefix(s.Name, "edgejepa/kernels/i8.tile") ||
			!strings.HasSuffix(s.Name, ".abi0") {
			continue
		}
		routine := text[s.Value-code.Addr:][:s.Size]
		for i := 0; i+4 <= len(routine); i += 4 {
			if multiplies(binary.LittleEndian.Uint32(routine[i:])) {
				binary.LittleEndian.PutUint32(routine[i:], nop)
				skipped++
			}
		}
	}
	if skipped == 0 {
		return fmt.Errorf("%s: no tile routine has a multiply-add", m.Program)
	}
	file, err := os.OpenFile(m.Program, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(text, int64(code.Offset))
	return errors.Join(err, file.Close())
}
