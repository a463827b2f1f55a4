// Package jepa trains an encoder (vit.Encoder) on pictures without labels.
//
// A Trainer owns what every run has: the context encoder that learns, the target encoder that follows it, the optimiser,
// checkpoints, the monitor against collapse. What it learns by is an Objective, each in a file of its own:
//
//	ijepa.go   predict the features of hidden blocks from what is visible, with predictor.go and mask.go
//	lejepa.go  equal features for views of a picture, normally distributed all together, with sigreg.go
//	byol.go    predict the slow features of one view from those of another
//	mae.go     draw hidden patches
//
// A Config decides a run to the last bit, together with the pictures. A Plan decides what memory it takes, and no bit of
// the result; neither does the number of threads, or on what machine it runs.
package jepa
