package upload_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
)

// discard is the cheapest storage there is: it answers each PUT on the connection once its bytes have come.
func discard(conn net.Conn) {
	in := bufio.NewReaderSize(conn, 256<<10)
	for {
		length, expects := int64(0), false
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			if line == "\r\n" {
				break
			}
			fmt.Sscanf(line, "Content-Length: %d", &length)
			expects = expects || strings.HasPrefix(line, "Expect:")
		}
		if expects {
			io.WriteString(conn, carryOn)
		}
		if _, err := in.Discard(int(length)); err != nil {
			return
		}
		io.WriteString(conn, fine)
	}
}
