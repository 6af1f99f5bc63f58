package agenttest

// objects is where objects live: in files below a folder ([storage]), or in a bucket ([bucketStorage]).
type objects interface {
	// write stores an object of the queue's own.
	write(key string, data []byte, contentType string) error
	// read gives the bytes of an object; fs.ErrNotExist if there is none.
	read(key string) ([]byte, error)
	// list gives the ETags, by key, of an object or of all objects below a folder.
	list(path string) (etags map[string]string, err error)

	// createUpload starts an upload in parts.
	createUpload(m meta) (id string, err error)
	// abortBelow aborts the uploads in parts of a folder: its run is over.
	abortBelow(folder string) error
	// openUploads are those that are neither completed nor aborted.
	openUploads() []Upload

	close() error
}
