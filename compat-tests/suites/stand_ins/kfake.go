// Package kfake takes the place of franz-go's fake broker: its "cluster" is the broker at KGO_SEEDS.
//
// It has what kafka_tests use of the original, and no more. A new cluster has to be empty, so all topics and groups of the
// broker are deleted; therefore tests must not run side by side.
package kfake

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const patience = 30 * time.Second

// Cluster is the broker under test.
type Cluster struct {
	seeds []string
	admin *kadm.Client
}

// Opt says what a cluster should be like.
type Opt func(seeded map[string]int32)

// NumBrokers is without effect: there is one.
func NumBrokers(int) Opt { return func(map[string]int32) {} }

// BrokerConfigs is without effect: the broker runs, with what the suite's line in the table of suites sets.
func BrokerConfigs(map[string]string) Opt { return func(map[string]int32) {} }

// SeedTopics makes topics beforehand.
func SeedTopics(partitions int32, topics ...string) Opt {
	return func(seeded map[string]int32) {
		for _, topic := range topics {
			seeded[topic] = partitions
		}
	}
}

// NewCluster empties the broker and makes the topics asked for.
func NewCluster(opts ...Opt) (*Cluster, error) {
	seeded := make(map[string]int32)
	for _, opt := range opts {
		opt(seeded)
	}
	seeds := strings.Split(os.Getenv("KGO_SEEDS"), ",")
	client, err := kgo.NewClient(kgo.SeedBrokers(seeds...))
	if err != nil {
		return nil, err
	}
	c := &Cluster{seeds, kadm.NewClient(client)}
	if err := c.empty(seeded); err != nil {
		client.Close()
		return nil, err
	}
	return c, nil
}

// A client of the test before may make a topic again while it is closed, so this goes on until nothing is left.
func (c *Cluster) empty(seeded map[string]int32) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if groups, err := c.admin.ListGroups(ctx); err == nil && len(groups) > 0 {
		if _, err := c.admin.DeleteGroups(ctx, groups.Groups()...); err != nil {
			return fmt.Errorf("delete groups: %w", err)
		}
	}
	for {
		topics, err := c.admin.ListTopics(ctx) // without the internal ones
		if err != nil {
			return fmt.Errorf("list topics: %w", err)
		}
		if len(topics) == 0 {
			break
		}
		if _, err := c.admin.DeleteTopics(ctx, topics.Names()...); err != nil {
			return fmt.Errorf("delete topics: %w", err)
		}
		pause(ctx)
	}
	for topic, partitions := range seeded {
		for {
			_, err := c.admin.CreateTopic(ctx, partitions, 1, nil, topic)
			if err == nil {
				break
			}
			if ctx.Err() != nil || !errors.Is(err, kerr.TopicAlreadyExists) {
				return fmt.Errorf("create %s: %w", topic, err)
			}
			pause(ctx) // its deletion is not done everywhere
		}
	}
	return nil
}

func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(50 * time.Millisecond):
	}
}

// ListenAddrs are the addresses of the cluster.
func (c *Cluster) ListenAddrs() []string { return c.seeds }

// Close ends our connection; the broker stays.
func (c *Cluster) Close() { c.admin.Close() }

// GroupInfo is the state of a group, be it classic or not.
type GroupInfo struct {
	Group   string
	State   string
	Epoch   int32
	Members []GroupMember
	Commits map[string]map[int32]GroupCommit
}

// GroupMember is a member of a group.
type GroupMember struct {
	MemberID         string
	InstanceID       *string
	SubscribedTopics []string
	Assignment       map[string][]int32
}

// GroupCommit is a committed offset.
type GroupCommit struct {
	Offset      int64
	LeaderEpoch int32
	Metadata    string
}

// NumAssigned counts the partitions of a member.
func (m *GroupMember) NumAssigned() int {
	count := 0
	for _, partitions := range m.Assignment {
		count += len(partitions)
	}
	return count
}

// NumAssigned counts the partitions of all members.
func (g *GroupInfo) NumAssigned() int {
	count := 0
	for i := range g.Members {
		count += g.Members[i].NumAssigned()
	}
	return count
}

// GroupInfo asks for the state of a group; nil where there is none.
func (c *Cluster) GroupInfo(group string) *GroupInfo {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	info := &GroupInfo{Group: group, Commits: make(map[string]map[int32]GroupCommit)}
	if !c.describeConsumer(ctx, info) && !c.describeClassic(ctx, info) {
		return nil
	}
	offsets, err := c.admin.FetchOffsets(ctx, group)
	if err != nil {
		return info
	}
	offsets.Each(func(offset kadm.OffsetResponse) {
		if offset.Err != nil || offset.At < 0 {
			return
		}
		if info.Commits[offset.Topic] == nil {
			info.Commits[offset.Topic] = make(map[int32]GroupCommit)
		}
		info.Commits[offset.Topic][offset.Partition] = GroupCommit{offset.At, offset.LeaderEpoch, offset.Metadata}
	})
	return info
}

func (c *Cluster) describeConsumer(ctx context.Context, info *GroupInfo) bool {
	described, err := c.admin.DescribeConsumerGroups(ctx, info.Group)
	if err != nil || described[info.Group].Err != nil {
		return false
	}
	group := described[info.Group]
	info.State, info.Epoch = group.State, group.Epoch
	for _, member := range group.Members {
		assignment := make(map[string][]int32)
		member.Assignment.Each(func(topic string, partition int32) {
			assignment[topic] = append(assignment[topic], partition)
		})
		info.Members = append(info.Members, GroupMember{member.MemberID, member.InstanceID, member.SubscribedTopics, assignment})
	}
	return true
}

func (c *Cluster) describeClassic(ctx context.Context, info *GroupInfo) bool {
	described, err := c.admin.DescribeGroups(ctx, info.Group)
	if err != nil || described[info.Group].Err != nil || described[info.Group].State == "Dead" {
		return false
	}
	info.State = described[info.Group].State
	for _, member := range described[info.Group].Members {
		known := GroupMember{MemberID: member.MemberID, InstanceID: member.InstanceID, Assignment: make(map[string][]int32)}
		if assigned, ok := member.Assigned.AsConsumer(); ok {
			for _, topic := range assigned.Topics {
				known.Assignment[topic.Topic] = topic.Partitions
			}
		}
		info.Members = append(info.Members, known)
	}
	return true
}

// WaitGroupStable waits until a group is stable with that many members; with fewer than none, with any number.
func (c *Cluster) WaitGroupStable(ctx context.Context, group string, members int) (*GroupInfo, error) {
	for {
		info := c.GroupInfo(group)
		if info != nil && info.State == "Stable" && (members < 0 || len(info.Members) == members) {
			return info, nil
		}
		if ctx.Err() != nil {
			return info, ctx.Err()
		}
		pause(ctx)
	}
}

// Fault is what the fake does wrong when told to. A real broker cannot be told; the tests that do are left out.
type Fault struct {
	Keys []kmsg.Key
	Err  *kerr.Error
	When func(kmsg.Request) bool
}

// Fault cannot be had.
func (*Cluster) Fault(...Fault) { panic("a real broker makes no faults to order") }

// ControlKey cannot be had.
func (*Cluster) ControlKey(int16, func(kmsg.Request) (kmsg.Response, error, bool)) {
	panic("a real broker lets nobody into its requests")
}
