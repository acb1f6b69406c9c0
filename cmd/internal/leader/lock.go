package leader

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// lock tells the term what becomes of the lease.
type lock struct {
	resourcelock.Interface
	term *term
}

// Get implements resourcelock.Interface. A lease that nobody holds, or that is not there, is not ours either: somebody
// may have led and given it back while we were stopped.
func (l *lock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	found, raw, err := l.Interface.Get(ctx)
	if apierrors.IsNotFound(err) || err == nil && found.HolderIdentity != l.Identity() {
		l.term.taken()
	}
	return found, raw, err
}

// Create implements resourcelock.Interface.
func (l *lock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.write(ctx, record, l.Interface.Create)
}

// Update implements resourcelock.Interface.
func (l *lock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.write(ctx, record, l.Interface.Update)
}

func (l *lock) write(ctx context.Context, record resourcelock.LeaderElectionRecord,
	send func(context.Context, resourcelock.LeaderElectionRecord) error) error {
	if record.HolderIdentity != l.Identity() {
		l.term.ended() // before another can hear of it
		return send(ctx, record)
	}
	asked := l.term.clock.Now()
	if err := send(ctx, record); err != nil {
		return err
	}
	l.term.renewed(asked)
	return nil
}
