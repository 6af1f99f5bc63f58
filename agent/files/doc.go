// Package files finds the files that are to be artifacts, and names them.
//
// A [Spec] says which: NAME=PATH, a glob, a folder, a folder under another name. [Select] looks for them, and
// gives each with its name and a source that can be read at any time later, and the problems: what was asked for and is not
// there, or cannot be an artifact.
//
// # Promises
//
//   - The folder in which files are looked for may be in the hands of somebody who may do less than we, and works on it meanwhile.
//     Nothing outside of it is listed or read (unless SymlinksFollow says so), nothing waits (a FIFO is refused), and no
//     tree of links, however it is knotted, takes more than a bounded time.
//   - Nothing is left out silently: what cannot be taken is a problem, and takes nothing else down with it. (A link to a folder that
//     it is in is no problem: what is there has a shorter path. Of more than 1,000 problems, the last says that there are more.)
//   - A name that a [schema.ArtifactName] cannot have is a problem here and not at the queue.
//   - Names and problems hold no path of this machine but below the folder.
//
// # Globs
//
// Patterns are those of doublestar: ** stands for any folders, {a,b} for one or the other, a backslash takes the meaning from
// what follows it (but on Windows, where it separates). A name that begins with a dot is a name like any other. A pattern without any of that, and one that ends with a
// slash, stands for all files below that folder too.
package files
