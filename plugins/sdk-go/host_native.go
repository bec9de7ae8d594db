//go:build !wasip1

package alluvium

import (
	"fmt"
	"os"
)

// Natively, in a test, the log is standard error and there are no assets.

func hostLog(level Level, message string) { fmt.Fprintln(os.Stderr, message) }

func hostAsset(name string) ([]byte, error) {
	return nil, fmt.Errorf("asset %q was not granted", name)
}

// Batches makes a transform of batches the plugin's one.
func Batches(open func(config []byte, schema []Field) (BatchTransform, Plan, error)) {}

// Records makes a transform of records the plugin's one.
func Records(open func(config []byte, schema []Field) (RecordTransform, Plan, error)) {}
