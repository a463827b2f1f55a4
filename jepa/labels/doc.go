// Package labels reads what people say about their pictures: which class one is of, which class each of its pixels is of,
// and where in it objects are. What is on disk becomes a list; which format it has is told from its path.
//
//	classify  one sub-folder a class; a CSV of file,label
//	segment   images/ beside masks/ of the same names: PNG with an index, a grey level or a colour a class
//	detect    Pascal VOC XML, COCO JSON, YOLO text
//
// An annotation that cannot be used is a Problem with file and line. By default it is passed over, as a picture that cannot
// be read is; Options.Strict makes it an error. Files are bounded in size and depth before anything is made of them, and
// nothing in them leads to a panic.
//
// Coordinates and masks are those of the upright picture: EXIF orientation is applied when pictures are read.
package labels
