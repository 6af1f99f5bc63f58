// Bench measures uploads through the agent side by side with what people would use instead.
//
//	go run ./cmd/bench                          all workloads, all peers that are here, as a table
//	go run ./cmd/bench -workloads 1GiB -n 9     one workload, nine rounds
//	go run ./cmd/bench -json bench.json         the same numbers for a program
//
// A sink in a process of its own plays the queue and the storage, plain and over TLS. It reads what it is sent and
// forgets it, so that what is measured is the sender. Each peer stores the same files, from a process of its own that is
// measured whole: from its start to its end, its CPU time and its peak memory. Ours runs
// one task through the public API of package agent: the claim, the logs, signed URLs from the queue, the
// journal on the disk, a digest of every artifact, result.json and the report.
//
// In each round all peers take turns; compared are the medians. Other work on the machine slows all of them, so
// only ratios say something, and only those of one run of this program. A peer that is not installed is left out and the report says so;
// -install builds rclone and mc with "go install" into a folder of the user's cache.
package main
