package pixels

import (
	"bytes"
	"encoding/binary"

	"github.com/bep/imagemeta"
)

// metadata is what the tags of a file say about showing its pixels.
type metadata struct {
	orientation int  // EXIF orientation, 1 to 8
	negative    bool // the decoder shows black for white
}

// readMetadata reads the first directory of an EXIF block, which is a TIFF file without pixels, or of a TIFF file.
// Broken tags count as none: the picture is worth more than its label.
func readMetadata(block []byte) metadata {
	const ccittG3, ccittG4, blackIsZero = 3, 4, 1
	var orientation, compression, photometric int64
	wanted := func(tag string) *int64 {
		switch tag {
		case "Orientation":
			return &orientation
		case "Compression":
			return &compression
		case "PhotometricInterpretation":
			return &photometric
		}
		return nil
	}
	_, _ = imagemeta.Decode(imagemeta.Options{
		R:           bytes.NewReader(block),
		ImageFormat: imagemeta.TIFF,
		Sources:     imagemeta.EXIF,
		ShouldHandleTag: func(t imagemeta.TagInfo) bool {
			return t.Namespace == "IFD0" && wanted(t.Tag) != nil
		},
		HandleTag: func(t imagemeta.TagInfo) error {
			if p := wanted(t.Tag); p != nil && *p == 0 {
				*p = tagInt(t.Value)
			}
			return nil
		},
	})
	if orientation < 1 || orientation > 8 {
		orientation = 1
	}
	// x/image/tiff shows the white of a fax code as white whatever the photometric tag says; libtiff obeys the tag.
	fax := compression == ccittG3 || compression == ccittG4
	return metadata{orientation: int(orientation), negative: fax && photometric == blackIsZero}
}

func tagInt(v any) int64 {
	switch v := v.(type) {
	case uint8:
		return int64(v)
	case uint16:
		return int64(v)
	case uint32:
		return int64(v)
	case int16:
		return int64(v)
	case int32:
		return int64(v)
	}
	return 0
}

// exifMagic opens the EXIF chunk of some WebP files, as it does the segment of a JPEG.
var exifMagic = []byte("Exif\x00\x00")

// pngEXIF returns the first eXIf chunk of a PNG file, or nil.
func pngEXIF(data []byte) []byte {
	for at := 8; at+8 <= len(data); {
		size, kind := uint64(binary.BigEndian.Uint32(data[at:])), string(data[at+4:at+8])
		at += 8
		if size+4 > uint64(len(data)-at) || kind == "IEND" {
			break
		}
		if kind == "eXIf" {
			return data[at : at+int(size)]
		}
		at += int(size) + 4
	}
	return nil
}

// webpEXIF returns the first EXIF chunk of a WebP file, or nil. Chunks are padded to an even length.
func webpEXIF(data []byte) []byte {
	for at := 12; at+8 <= len(data); {
		size, kind := uint64(binary.LittleEndian.Uint32(data[at+4:])), string(data[at:at+4])
		at += 8
		if size > uint64(len(data)-at) {
			break
		}
		if kind == "EXIF" {
			return bytes.TrimPrefix(data[at:at+int(size)], exifMagic)
		}
		at += int(size)
		at += at & 1
	}
	return nil
}
