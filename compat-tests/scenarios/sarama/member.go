// Members of groups with sarama: sessions come and go in the background, and records of one that is over count no more.
package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// errSessionOver is what a commit for a session is told that the library has ended.
var errSessionOver = errors.New("the session that these records came in is over")

type delivery struct {
	session sarama.ConsumerGroupSession
	message *sarama.ConsumerMessage
}

type groupReader struct {
	client   sarama.Client
	admin    sarama.ClusterAdmin
	group    sarama.ConsumerGroup
	options  memberOptions
	incoming chan delivery
	stop     context.CancelFunc
	ended    chan struct{}

	lock    sync.Mutex
	current sarama.ConsumerGroupSession // nil between sessions

	// What was answered with, and in which session.
	session  sarama.ConsumerGroupSession
	answered map[int32]int64
}

func (l saramaLibrary) member(options memberOptions) (reader, error) {
	return l.join(options, sarama.ReadUncommitted)
}

func (l saramaLibrary) join(options memberOptions, isolation sarama.IsolationLevel) (*groupReader, error) {
	config := settings(30 * time.Second)
	config.Consumer.IsolationLevel = isolation
	config.Consumer.Group.InstanceId = options.instance
	config.Consumer.Group.Session.Timeout = options.session
	config.Consumer.Group.Heartbeat.Interval = options.heartbeat
	config.Consumer.Group.Rebalance.Retry.Backoff = 200 * time.Millisecond
	config.Consumer.Group.Rebalance.Retry.Max = 100
	client, err := sarama.NewClient(l.addresses, config)
	if err != nil {
		return nil, err
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		return nil, err
	}
	group, err := sarama.NewConsumerGroupFromClient(options.group, client)
	if err != nil {
		return nil, err
	}
	r := &groupReader{client: client, admin: admin, group: group, options: options, incoming: make(chan delivery)}
	r.begin()
	return r, nil
}

// begin has the group consumed until `end`.
func (r *groupReader) begin() {
	running, stop := context.WithCancel(always)
	r.stop, r.ended = stop, make(chan struct{})
	go func() {
		defer close(r.ended)
		for running.Err() == nil {
			if err := r.group.Consume(running, []string{r.options.topic}, r); errors.Is(err, sarama.ErrClosedConsumerGroup) {
				return
			}
		}
	}()
}

func (r *groupReader) end() {
	r.stop()
	<-r.ended
}

// Setup, Cleanup and ConsumeClaim are what the library calls in a session.
func (r *groupReader) Setup(session sarama.ConsumerGroupSession) error {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.current = session
	return nil
}

func (r *groupReader) Cleanup(sarama.ConsumerGroupSession) error {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.current = nil
	return nil
}

func (r *groupReader) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			select {
			case r.incoming <- delivery{session, message}:
			case <-session.Context().Done():
				return nil
			}
		case <-session.Context().Done():
			return nil
		}
	}
}

func (r *groupReader) take(count int, patience time.Duration) ([]record, error) {
	var found []record
	timeout := time.After(patience)
	for len(found) < count {
		select {
		case came := <-r.incoming:
			if came.session.Context().Err() != nil {
				continue
			}
			if came.session != r.session {
				r.session, r.answered = came.session, map[int32]int64{}
			}
			r.answered[came.message.Partition] = came.message.Offset + 1
			found = append(found, fromMessage(came.message))
		case err := <-r.group.Errors():
			fmt.Println("note:", err)
		case <-timeout:
			return found, nil
		}
	}
	return found, nil
}

func (r *groupReader) assignment() ([]int32, error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.current == nil {
		return nil, nil
	}
	claims := slices.Clone(r.current.Claims()[r.options.topic])
	slices.Sort(claims)
	return claims, nil
}

// commitOffsets commits with the session. Its Commit says nothing: whether it succeeded is seen in the broker, and why it did
// not is told in the channel of errors, or by the end of the session.
func (r *groupReader) commitOffsets() error {
	if r.session == nil {
		return nil
	}
	for partition, offset := range r.answered {
		r.session.MarkOffset(r.options.topic, partition, offset, "")
	}
	r.session.Commit()
	if r.arrived() {
		return nil
	}
	for {
		select {
		case err := <-r.group.Errors():
			return err
		case <-r.session.Context().Done():
			return fmt.Errorf("%w: %w", errSessionOver, context.Cause(r.session.Context()))
		case <-time.After(200 * time.Millisecond):
			r.session.Commit() // a coordinator that moved or was loading: the library tries again with the next commit
			if r.arrived() {
				return nil
			}
		}
	}
}

func (r *groupReader) arrived() bool {
	for partition, offset := range r.answered {
		stored, err := r.committed(partition)
		if err != nil || stored != offset {
			return false
		}
	}
	return true
}

func (r *groupReader) committed(partition int32) (int64, error) {
	partitions := map[string][]int32{r.options.topic: {partition}}
	response, err := r.admin.ListConsumerGroupOffsets(r.options.group, partitions)
	if err != nil {
		return 0, err
	}
	if block := response.GetBlock(r.options.topic, partition); block != nil && block.Err == sarama.ErrNoError {
		return block.Offset, nil
	}
	return 0, fmt.Errorf("no offset of partition %d: %w", partition, response.Err)
}

func (r *groupReader) close() error {
	if err := r.group.Close(); err != nil {
		return err
	}
	r.end()
	return r.client.Close()
}

func (r *groupReader) position(int32) (int64, error) {
	return 0, unsupported("sarama's group members have no position")
}

func (r *groupReader) seek(int32, string) error {
	return unsupported("sarama's group members cannot seek within a session")
}
