// Package watch tells when to look at a folder again, and which of the files there have settled.
//
// A [Watcher] gives hints that something below a folder may have changed. A hint is never more than that: whoever gets one looks for
// himself, and so loses nothing where events are lost, come too late, or do not exist at all.
//
// A [Settled] is told at each look what is there, and says which files nobody seems to write to any more. It knows neither clock nor disk.
//
// Together they are how artifacts are uploaded while their task still runs:
//
//	for {
//		found, _ := files.Select(specs, options)
//		look := settled.Look(time.Now(), found)
//		for _, f := range look.Settled {
//			... add the artifact, or replace it
//		}
//		... wait for w.Changes(), or until look.Next
//	}
//
// and when the task has ended, what [Settled.Rest] says of the last look.
//
// # What it does not see
//
// A file that is written through a mapping into memory keeps its time for as long as the system likes; so may one on a network's disk.
// What is written so after its upload may not be noticed.
package watch
