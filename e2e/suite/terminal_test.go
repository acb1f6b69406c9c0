package suite

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"

	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"
)

// transcript remembers what was written to it.
type transcript struct {
	mu   sync.Mutex
	said strings.Builder
}

// Write remembers.
func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.said.Write(p)
}

func (t *transcript) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.said.String()
}

// terminal is a real one, in which a program runs, as if somebody sat before it.
type terminal struct {
	*transcript
	w            *world
	master, line *os.File
}

// terminal makes the command run in a terminal of that size.
func (w *world) terminal(cmd *exec.Cmd, columns, rows uint16) *terminal {
	w.t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	w.Expect(err).NotTo(HaveOccurred())
	w.t.Cleanup(func() { _ = master.Close() })
	fd := int(master.Fd()) //nolint:gosec // G115: a file descriptor
	w.Expect(unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)).To(Succeed())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	w.Expect(err).NotTo(HaveOccurred())
	line, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	w.Expect(err).NotTo(HaveOccurred())
	t := &terminal{transcript: &transcript{}, w: w, master: master, line: line}
	t.resize(columns, rows)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = line, line, line
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true} // so that it is told of another size
	return t
}

// started reads what the program shows from now on.
func (t *terminal) started() {
	_ = t.line.Close() // the program has it
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := t.master.Read(buffer)
			_, _ = t.Write(buffer[:n])
			if err != nil {
				return // the program has ended
			}
		}
	}()
}

func (t *terminal) enter(text string) {
	t.w.t.Helper()
	_, err := t.master.WriteString(text)
	t.w.Expect(err).NotTo(HaveOccurred())
}

func (t *terminal) shows(text string) {
	t.w.t.Helper()
	t.w.Eventually(t.text).Should(ContainSubstring(text))
}

func (t *terminal) resize(columns, rows uint16) {
	t.w.t.Helper()
	size := &unix.Winsize{Col: columns, Row: rows}
	master := int(t.master.Fd()) //nolint:gosec // G115: ditto
	t.w.Expect(unix.IoctlSetWinsize(master, unix.TIOCSWINSZ, size)).To(Succeed())
}
