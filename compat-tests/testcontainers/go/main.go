// The Kafka module of testcontainers for Go with this image in the place of Confluent's.
//
// worker IMAGE:TAG; ends with OK.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/modules/kafka"
	"github.com/twmb/franz-go/pkg/kgo"
)

const records = 10

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	container, err := kafka.Run(ctx, os.Args[1], kafka.WithClusterID("MkU3OEVBNTcwNTJENDM2Qk"))
	if err != nil {
		log.Fatalf("start: %v", err)
	}
	err = produceAndConsume(ctx, container)
	if stop := testcontainers.TerminateContainer(container); err == nil {
		err = stop
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("OK")
}

func produceAndConsume(ctx context.Context, container *kafka.KafkaContainer) error {
	brokers, err := container.Brokers(ctx)
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(brokers...),
		kgo.AllowAutoTopicCreation(),
		kgo.ConsumerGroup("visitors"),
		kgo.ConsumeTopics("visits"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	for n := range records {
		record := kgo.KeyStringRecord(fmt.Sprint("key-", n), fmt.Sprint("value-", n))
		record.Topic = "visits"
		if err := client.ProduceSync(ctx, record).FirstErr(); err != nil {
			return fmt.Errorf("produce: %w", err)
		}
	}
	for found := 0; found < records; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("consume: %w", err)
		}
		for _, record := range fetches.Records() {
			if string(record.Value) != fmt.Sprint("value-", found) {
				return fmt.Errorf("record %d has the value %q", found, record.Value)
			}
			found++
		}
	}
	return client.CommitUncommittedOffsets(ctx)
}
