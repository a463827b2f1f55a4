// Package bench measures embedding beside what one would write or reach for instead. There is nothing but tests in it, and
// the programs that they run:
//
//   - plain: the straightforward pipeline in Go: image/jpeg, x/image/draw, a float32 network
//   - pillow_ort.py: Pillow and ONNX Runtime in Python, float32 and int8
//   - export_onnx.py: the weights of a run's encoder.safetensors as an ONNX file for it
//   - pictures: a folder of 12-megapixel JPEGs, the same on every machine
//
// TestEmbedding builds the programs, makes what is missing (pictures; models of one training step, as weights do not change
// the time; their ONNX and int8 forms), runs everything in turns and prints tables and bars:
//
//	python3 -m venv peers && peers/bin/pip install numpy pillow onnx onnxruntime
//	go test ./quant/bench -run 'TestEmbedding$' -v -timeout 2h -embedding -embedding.dir $PWD/bin/embedding \
//	    -embedding.python $PWD/peers/bin/python -embedding.photos FOLDER
//
// Its sections are start (one picture), photos, large (whole commands, from before the process starts until it has ended,
// with their peak memory) and network (one decoded picture at a time, no command around it). Everything runs the same
// network with the same weights; the column cosine is the least one between a peer's vectors and ours.
package bench
