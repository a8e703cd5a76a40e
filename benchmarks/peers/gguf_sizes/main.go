// Command gguf_sizes says what gguf-parser-go expects llama.cpp to take for GGUF files: one line of JSON a file.
//
//	gguf_sizes CONTEXT SEQUENCES FILE...
//
// The context is that of one sequence; llama.cpp shares its whole context out, so it is asked for the product.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	parser "github.com/gpustack/gguf-parser-go"
)

// repeats is the number of rounds, of which the quickest counts.
const repeats = 10

// answer holds bytes and seconds; Error is empty where there is an answer.
type answer struct {
	File         string  `json:"file"`
	WeightBytes  uint64  `json:"weight_bytes"`
	KVBytes      uint64  `json:"kv_bytes"`
	ComputeBytes uint64  `json:"compute_bytes"`
	Seconds      float64 `json:"seconds"`
	Error        string  `json:"error"`
}

func estimate(path string, context, sequences int32) answer {
	began := time.Now()
	found := answer{File: path}
	file, err := parser.ParseGGUFFile(path, parser.UseMMap())
	if err != nil {
		found.Error = err.Error()
		return found
	}
	run := file.EstimateLLaMACppRun(
		parser.WithLLaMACppContextSize(context*sequences),
		parser.WithParallelSize(sequences),
		parser.WithFlashAttention(),
	)
	found.WeightBytes = uint64(run.Devices[0].Weight.Input)
	for at, device := range run.Devices {
		found.WeightBytes += uint64(device.Weight.Compute + device.Weight.ComputeOverridden)
		// The host's record repeats the output that a GPU holds; it is wanted once.
		if at > 0 || len(run.Devices) == 1 {
			found.WeightBytes += uint64(device.Weight.Output)
		}
		found.KVBytes += uint64(device.KVCache.Sum())
		found.ComputeBytes += uint64(device.Computation.Sum())
	}
	found.Seconds = time.Since(began).Seconds()
	return found
}

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "gguf_sizes CONTEXT SEQUENCES FILE...")
		os.Exit(2)
	}
	var numbers [2]int32
	for at := range numbers {
		number, err := strconv.ParseInt(os.Args[1+at], 10, 32)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		numbers[at] = int32(number)
	}
	out := json.NewEncoder(os.Stdout)
	for _, path := range os.Args[3:] {
		quickest := estimate(path, numbers[0], numbers[1])
		for range repeats - 1 {
			if next := estimate(path, numbers[0], numbers[1]); next.Seconds < quickest.Seconds {
				quickest = next
			}
		}
		if err := out.Encode(quickest); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
