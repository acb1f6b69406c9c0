package env

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Link is a TCP proxy that can be made to fail.
type Link struct {
	target  string
	gateway *gateway // stands between the link and its target; may be nil
	clock   clock.Clock

	mu      sync.Mutex
	addr    string
	mode    Mode
	changed chan struct{} // closed when the mode changes
	accept  net.Listener  // nil while cut
	flows   map[*flow]struct{}
	closed  bool
	running sync.WaitGroup
}

// NewLink starts a healthy link from a loopback address to a target; port 0 is any.
func NewLink(listen, target string, clk clock.Clock) (*Link, error) {
	l := &Link{target: target, clock: clk, addr: listen, changed: make(chan struct{}), flows: map[*flow]struct{}{}}
	if err := l.Set(Mode{Kind: Heal}); err != nil {
		return nil, err
	}
	return l, nil
}

// NewGateway starts a healthy link to an API server that reads what passes; keys is the folder of the cluster's keys.
func NewGateway(listen, target, keys string, clk clock.Clock) (*Link, error) {
	g, err := newGateway(pki{dir: keys}, target, clk)
	if err != nil {
		return nil, err
	}
	l, err := NewLink(listen, g.accept.Addr().String(), clk)
	if err != nil {
		return nil, errors.Join(err, g.accept.Close())
	}
	l.gateway = g
	l.running.Go(g.run)
	return l, nil
}

// Addr returns the address that clients connect to.
func (l *Link) Addr() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.addr
}

// Set changes the mode; when it returns, the mode holds for all connections, old and new.
func (l *Link) Set(mode Mode) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return net.ErrClosed
	}
	if mode.readsRequests() && l.gateway == nil {
		return &UsageError{fmt.Sprintf("%s needs a link that reads requests", mode.Kind)}
	}
	if l.gateway != nil {
		l.gateway.set(mode)
	}
	if mode.Kind == Cut {
		l.shut()
	} else if err := l.listen(); err != nil {
		return err
	}
	l.mode = mode
	close(l.changed)
	l.changed = make(chan struct{})
	return nil
}

// Close ends the link and all connections.
func (l *Link) Close() {
	l.mu.Lock()
	l.closed = true
	l.shut()
	l.mu.Unlock()
	if l.gateway != nil {
		l.gateway.close()
	}
	l.running.Wait()
}

// listen opens the door. The caller holds the lock.
func (l *Link) listen() error {
	if l.accept != nil {
		return nil
	}
	accept, err := net.Listen("tcp", l.addr)
	if err != nil {
		return fmt.Errorf("open link: %w", err)
	}
	l.accept, l.addr = accept, accept.Addr().String()
	l.running.Go(func() { l.serve(accept) })
	return nil
}

// shut closes the door and resets all connections. The caller holds the lock.
func (l *Link) shut() {
	if l.accept != nil {
		_ = l.accept.Close()
		l.accept = nil
	}
	for f := range l.flows {
		f.reset()
	}
}

func (l *Link) serve(accept net.Listener) {
	for {
		client, err := accept.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of file descriptors, say
			<-l.clock.After(10 * time.Millisecond)
			continue
		}
		f := &flow{link: l, client: client, done: make(chan struct{})}
		if l.add(f, accept) {
			l.running.Go(f.run)
		} else {
			f.reset()
		}
	}
}

// add keeps the flow, unless the door was closed since it came in.
func (l *Link) add(f *flow, by net.Listener) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.accept != by {
		return false
	}
	l.flows[f] = struct{}{}
	return true
}

func (l *Link) remove(f *flow) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.flows, f)
}

func (l *Link) current() (Mode, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mode, l.changed
}

// flow is one connection through a link.
type flow struct {
	link   *Link
	client net.Conn

	once sync.Once
	done chan struct{} // closed when the flow ends

	mu     sync.Mutex
	server net.Conn
}

// reset ends the flow as a crash of the other side would: no farewell.
func (f *flow) reset() {
	f.end(func(conn net.Conn) {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	})
}

// finish ends a flow that both sides are done with; what the kernel still holds is delivered.
func (f *flow) finish() {
	f.end(func(conn net.Conn) { _ = conn.Close() })
}

func (f *flow) end(shut func(net.Conn)) {
	f.once.Do(func() {
		close(f.done)
		shut(f.client)
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.server != nil {
			shut(f.server)
		}
	})
}

// run connects and passes bytes until both sides are done.
func (f *flow) run() {
	defer f.link.remove(f)
	if !f.connect() {
		f.reset()
		return
	}
	var both sync.WaitGroup
	both.Go(func() { f.pass(f.server, f.client) })
	both.Go(func() { f.pass(f.client, f.server) })
	both.Wait()
	f.finish()
}

func (f *flow) connect() bool {
	if !f.due(f.link.clock.Now()) {
		return false
	}
	server, err := net.Dial("tcp", f.link.target)
	if err != nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.server = server
	select {
	case <-f.done:
		_ = server.Close()
		return false
	default:
		return true
	}
}

// due waits until what arrived at the given time may leave; false when the flow ended.
func (f *flow) due(arrived time.Time) bool {
	for {
		mode, changed := f.link.current()
		var timer <-chan time.Time
		switch mode.Kind {
		case Blackhole: // no timer: only a change lets it go
		case Slow:
			left := mode.Delay/2 - f.link.clock.Since(arrived)
			if left <= 0 {
				return true
			}
			timer = f.link.clock.After(left)
		default:
			return true
		}
		select {
		case <-timer:
		case <-changed:
		case <-f.done:
			return false
		}
	}
}

// chunk is a piece of the stream; without bytes it is the end.
type chunk struct {
	bytes   []byte
	arrived time.Time
}

// pass carries one direction. Reading ahead is what makes a slow link slow and not narrow.
func (f *flow) pass(dst, src net.Conn) {
	const depth = 256
	ahead := make(chan chunk, depth)
	go f.read(ahead, src)
	var luck luck
	for c := range ahead {
		if !f.due(c.arrived) {
			break
		}
		if mode, _ := f.link.current(); mode.Kind == Reset && luck.ends(mode, c.arrived) {
			f.reset()
			break
		}
		if c.bytes == nil {
			_ = dst.(*net.TCPConn).CloseWrite()
			break
		}
		if _, err := dst.Write(c.bytes); err != nil {
			f.reset()
			break
		}
	}
}

// read reads ahead until the end.
func (f *flow) read(ahead chan<- chunk, src net.Conn) {
	const size = 32 << 10
	defer close(ahead)
	for {
		buffer := make([]byte, size)
		n, err := src.Read(buffer)
		if n > 0 && !f.send(ahead, buffer[:n]) {
			return
		}
		if errors.Is(err, io.EOF) {
			f.send(ahead, nil)
		} else if err != nil {
			f.reset()
		}
		if err != nil {
			return
		}
	}
}

func (f *flow) send(ahead chan<- chunk, bytes []byte) bool {
	select {
	case ahead <- chunk{bytes, f.link.clock.Now()}:
		return true
	case <-f.done:
		return false
	}
}

// luck is that of one direction of a flow.
type luck struct{ next time.Time }

// ends throws the dice whether what arrived ends its flow, but not for each piece of what is sent at a stretch: or long
// answers would never arrive.
func (l *luck) ends(mode Mode, arrived time.Time) bool {
	const stretch = 10 * time.Millisecond
	if arrived.Before(l.next) {
		return false
	}
	l.next = arrived.Add(stretch)
	return mode.hits()
}
