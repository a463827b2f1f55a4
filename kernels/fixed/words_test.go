package fixed

import (
	"testing"

	"edgejepa/kernels/kerneltest"
)

func TestNEONWords(t *testing.T) {
	kerneltest.CheckWords(t, map[string]kerneltest.Words{"neon_arm64.h": neonWords})
}

var neonWords = kerneltest.Words{
	"SSHL4S(12, 6, 8)":       0x4ea844cc, // sshl v12.4s, v6.4s, v8.4s
	"SSHL4S(31, 30, 29)":     0x4ebd47df, // sshl v31.4s, v30.4s, v29.4s
	"SSHL4S(1, 2, 4)":        0x4ea44441, // sshl v1.4s, v2.4s, v4.4s
	"USHL4S(12, 6, 8)":       0x6ea844cc, // ushl v12.4s, v6.4s, v8.4s
	"USHL4S(31, 30, 29)":     0x6ebd47df, // ushl v31.4s, v30.4s, v29.4s
	"USHL4S(1, 2, 4)":        0x6ea44441, // ushl v1.4s, v2.4s, v4.4s
	"SSHL8H(12, 6, 8)":       0x4e6844cc, // sshl v12.8h, v6.8h, v8.8h
	"SSHL8H(31, 30, 29)":     0x4e7d47df, // sshl v31.8h, v30.8h, v29.8h
	"SSHL8H(1, 2, 4)":        0x4e644441, // sshl v1.8h, v2.8h, v4.8h
	"USHL8H(12, 6, 8)":       0x6e6844cc, // ushl v12.8h, v6.8h, v8.8h
	"USHL8H(31, 30, 29)":     0x6e7d47df, // ushl v31.8h, v30.8h, v29.8h
	"USHL8H(1, 2, 4)":        0x6e644441, // ushl v1.8h, v2.8h, v4.8h
	"SQDMULH4S(12, 6, 8)":    0x4ea8b4cc, // sqdmulh v12.4s, v6.4s, v8.4s
	"SQDMULH4S(31, 30, 29)":  0x4ebdb7df, // sqdmulh v31.4s, v30.4s, v29.4s
	"SQDMULH4S(1, 2, 4)":     0x4ea4b441, // sqdmulh v1.4s, v2.4s, v4.4s
	"SQRDMULH8H(12, 6, 8)":   0x6e68b4cc, // sqrdmulh v12.8h, v6.8h, v8.8h
	"SQRDMULH8H(31, 30, 29)": 0x6e7db7df, // sqrdmulh v31.8h, v30.8h, v29.8h
	"SQRDMULH8H(1, 2, 4)":    0x6e64b441, // sqrdmulh v1.8h, v2.8h, v4.8h
	"MUL8H(12, 6, 8)":        0x4e689ccc, // mul v12.8h, v6.8h, v8.8h
	"MUL8H(31, 30, 29)":      0x4e7d9fdf, // mul v31.8h, v30.8h, v29.8h
	"MUL8H(1, 2, 4)":         0x4e649c41, // mul v1.8h, v2.8h, v4.8h
	"SQADD8H(12, 6, 8)":      0x4e680ccc, // sqadd v12.8h, v6.8h, v8.8h
	"SQADD8H(31, 30, 29)":    0x4e7d0fdf, // sqadd v31.8h, v30.8h, v29.8h
	"SQADD8H(1, 2, 4)":       0x4e640c41, // sqadd v1.8h, v2.8h, v4.8h
	"SMAX16B(12, 6, 8)":      0x4e2864cc, // smax v12.16b, v6.16b, v8.16b
	"SMAX16B(31, 30, 29)":    0x4e3d67df, // smax v31.16b, v30.16b, v29.16b
	"SMAX16B(1, 2, 4)":       0x4e246441, // smax v1.16b, v2.16b, v4.16b
	"SMAX8H(12, 6, 8)":       0x4e6864cc, // smax v12.8h, v6.8h, v8.8h
	"SMAX8H(31, 30, 29)":     0x4e7d67df, // smax v31.8h, v30.8h, v29.8h
	"SMAX8H(1, 2, 4)":        0x4e646441, // smax v1.8h, v2.8h, v4.8h
	"SMAX4S(12, 6, 8)":       0x4ea864cc, // smax v12.4s, v6.4s, v8.4s
	"SMAX4S(31, 30, 29)":     0x4ebd67df, // smax v31.4s, v30.4s, v29.4s
	"SMAX4S(1, 2, 4)":        0x4ea46441, // smax v1.4s, v2.4s, v4.4s
	"SMIN4S(12, 6, 8)":       0x4ea86ccc, // smin v12.4s, v6.4s, v8.4s
	"SMIN4S(31, 30, 29)":     0x4ebd6fdf, // smin v31.4s, v30.4s, v29.4s
	"SMIN4S(1, 2, 4)":        0x4ea46c41, // smin v1.4s, v2.4s, v4.4s
	"SMAXV4S(31, 12)":        0x4eb0a99f, // smaxv s31, v12.4s
	"SMAXV4S(5, 26)":         0x4eb0ab45, // smaxv s5, v26.4s
	"ABS8H(31, 12)":          0x4e60b99f, // abs v31.8h, v12.8h
	"ABS8H(5, 26)":           0x4e60bb45, // abs v5.8h, v26.8h
	"SQXTN4H(31, 12)":        0x0e61499f, // sqxtn v31.4h, v12.4s
	"SQXTN4H(5, 26)":         0x0e614b45, // sqxtn v5.4h, v26.4s
	"SQXTN8H(31, 12)":        0x4e61499f, // sqxtn2 v31.8h, v12.4s
	"SQXTN8H(5, 26)":         0x4e614b45, // sqxtn2 v5.8h, v26.4s
	"SQXTN8B(31, 12)":        0x0e21499f, // sqxtn v31.8b, v12.8h
	"SQXTN8B(5, 26)":         0x0e214b45, // sqxtn v5.8b, v26.8h
	"SQXTN16B(31, 12)":       0x4e21499f, // sqxtn2 v31.16b, v12.8h
	"SQXTN16B(5, 26)":        0x4e214b45, // sqxtn2 v5.16b, v26.8h
	"XTN4H(31, 12)":          0x0e61299f, // xtn v31.4h, v12.4s
	"XTN4H(5, 26)":           0x0e612b45, // xtn v5.4h, v26.4s
	"XTN8H(31, 12)":          0x4e61299f, // xtn2 v31.8h, v12.4s
	"XTN8H(5, 26)":           0x4e612b45, // xtn2 v5.8h, v26.4s
	"XTN8B(31, 12)":          0x0e21299f, // xtn v31.8b, v12.8h
	"XTN8B(5, 26)":           0x0e212b45, // xtn v5.8b, v26.8h
	"XTN16B(31, 12)":         0x4e21299f, // xtn2 v31.16b, v12.8h
	"XTN16B(5, 26)":          0x4e212b45, // xtn2 v5.16b, v26.8h
	"UADDLP8H(31, 12)":       0x6e20299f, // uaddlp v31.8h, v12.16b
	"UADDLP8H(5, 26)":        0x6e202b45, // uaddlp v5.8h, v26.16b
	"UADALP4S(31, 12)":       0x6e60699f, // uadalp v31.4s, v12.8h
	"UADALP4S(5, 26)":        0x6e606b45, // uadalp v5.4s, v26.8h
	"SADALP2D(31, 12)":       0x4ea0699f, // sadalp v31.2d, v12.4s
	"SADALP2D(5, 26)":        0x4ea06b45, // sadalp v5.2d, v26.4s
	"SADDW2D(12, 6, 8)":      0x0ea810cc, // saddw v12.2d, v6.2d, v8.2s
	"SADDW2D(31, 30, 29)":    0x0ebd13df, // saddw v31.2d, v30.2d, v29.2s
	"SADDW2D(1, 2, 4)":       0x0ea41041, // saddw v1.2d, v2.2d, v4.2s
	"SADDW2D2(12, 6, 8)":     0x4ea810cc, // saddw2 v12.2d, v6.2d, v8.4s
	"SADDW2D2(31, 30, 29)":   0x4ebd13df, // saddw2 v31.2d, v30.2d, v29.4s
	"SADDW2D2(1, 2, 4)":      0x4ea41041, // saddw2 v1.2d, v2.2d, v4.4s
	"SMLAL2D(12, 6, 8)":      0x0ea880cc, // smlal v12.2d, v6.2s, v8.2s
	"SMLAL2D(31, 30, 29)":    0x0ebd83df, // smlal v31.2d, v30.2s, v29.2s
	"SMLAL2D(1, 2, 4)":       0x0ea48041, // smlal v1.2d, v2.2s, v4.2s
	"SMLAL2D2(12, 6, 8)":     0x4ea880cc, // smlal2 v12.2d, v6.4s, v8.4s
	"SMLAL2D2(31, 30, 29)":   0x4ebd83df, // smlal2 v31.2d, v30.4s, v29.4s
	"SMLAL2D2(1, 2, 4)":      0x4ea48041, // smlal2 v1.2d, v2.4s, v4.4s
}
