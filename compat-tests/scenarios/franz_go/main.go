// The worker of franz-go; _serve.py says what a worker does, ../_go has the loop.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

var always = context.Background()

type franzLibrary struct{ seeds kgo.Opt }

func main() { serve(franzLibrary{kgo.SeedBrokers(os.Args[1])}) }

func (l franzLibrary) open(options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(options, l.seeds, kgo.MetadataMinAge(100*time.Millisecond), kgo.FetchMaxWait(100*time.Millisecond))...)
}

func (franzLibrary) kind(err error) string {
	kinds := map[string][]error{
		"fenced":        {kerr.ProducerFenced, kerr.InvalidProducerEpoch},
		"too_large":     {kerr.MessageTooLarge},
		"unknown_topic": {kerr.UnknownTopicOrPartition},
		"topic_exists":  {kerr.TopicAlreadyExists},
		"stale_member":  {kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.FencedInstanceID, errPartitionsLost},
	}
	for kind, errs := range kinds {
		for _, one := range errs {
			if errors.Is(err, one) {
				return kind
			}
		}
	}
	return "other"
}

func (l franzLibrary) cluster() (cluster, error) {
	client, err := l.open()
	if err != nil {
		return nil, err
	}
	return asker{kadm.NewClient(client)}, nil
}

type asker struct{ *kadm.Client }

func (a asker) makeTopic(topic string, partitions int32, configs map[string]string) error {
	values := map[string]*string{}
	for key, value := range configs {
		values[key] = &value
	}
	_, err := a.CreateTopic(always, partitions, 1, values, topic)
	return err
}

func (a asker) deleteTopic(topic string) error {
	_, err := a.DeleteTopic(always, topic)
	return err
}

func (a asker) topics() ([]string, error) {
	found, err := a.ListTopics(always)
	return found.Names(), err
}

func (a asker) partitions(topic string) (int, error) {
	found, err := a.ListTopics(always, topic)
	return len(found[topic].Partitions), errors.Join(err, found[topic].Err)
}

func (a asker) grow(topic string, partitions int32) error {
	response, err := a.UpdatePartitions(always, int(partitions), topic)
	return errors.Join(err, response.Error())
}

func (a asker) config(topic, key string) (string, error) {
	resources, err := a.DescribeTopicConfigs(always, topic)
	if err != nil {
		return "", err
	}
	for _, config := range resources[0].Configs {
		if config.Key == key {
			return config.MaybeValue(), nil
		}
	}
	return "", fmt.Errorf("no such config: %w", resources[0].Err)
}

func (a asker) alter(topic, key, value string) error {
	changes := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: key, Value: &value}}
	response, err := a.AlterTopicConfigs(always, changes, topic)
	if err != nil {
		return err
	}
	return response[0].Err
}

func (a asker) offset(topic string, partition int32, wanted string) (int64, error) {
	var found kadm.ListedOffsets
	var err error
	switch wanted {
	case "earliest":
		found, err = a.ListStartOffsets(always, topic)
	case "latest":
		found, err = a.ListEndOffsets(always, topic)
	default:
		found, err = a.ListOffsetsAfterMilli(always, number(wanted), topic)
	}
	one, _ := found.Lookup(topic, partition)
	if wanted != "earliest" && wanted != "latest" && one.Timestamp < 0 {
		return -1, errors.Join(err, one.Err) // the library gives the end where there is none
	}
	return one.Offset, errors.Join(err, one.Err)
}

func (a asker) deleteRecords(topic string, partition int32, offset int64) (int64, error) {
	var offsets kadm.Offsets
	offsets.AddOffset(topic, partition, offset, -1)
	response, err := a.DeleteRecords(always, offsets)
	one, _ := response.Lookup(topic, partition)
	return one.LowWatermark, errors.Join(err, one.Err)
}

func (a asker) groups() ([]string, error) {
	found, err := a.ListGroups(always)
	return found.Groups(), err
}

func (a asker) group(group string) (string, int, error) {
	found, err := a.DescribeGroups(always, group)
	one := found[group]
	return one.State, len(one.Members), errors.Join(err, one.Err)
}

func (a asker) deleteGroup(group string) error {
	response, err := a.DeleteGroup(always, group)
	return errors.Join(err, response.Err)
}
