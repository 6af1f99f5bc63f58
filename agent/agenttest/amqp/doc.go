// Package amqp carries the events of an embedded queue over a RabbitMQ: [Publish] hands every event of an agenttest.Server to the broker,
// [Subscribe] reads such messages, of the embedded queue or of any other.
//
//	publisher, err := amqp.Publish(ctx, server, url, amqp.Options{})
//	defer publisher.Close(ctx)
//
// Exchanges, routing keys and messages are the protocol's: durable topic exchanges queue/v1/task-pending, -running, -completed and -failed, to which
// persistent messages of type application/json go with the routing key taskId.runId.workerGroup.workerId.provisionerId.workerType.routing.
//
// Promises: a message is published after the change it tells of can be read, and counts as published when the broker has confirmed it. While the broker
// is away, events wait in memory, without a bound, and the queue goes on: its answers do not wait for the broker. The messages of one task arrive in the order
// of its events. A message may arrive more than once, when a connection breaks before a confirmation arrives: then it, and no later one of its task, is repeated.
// The URL of the broker is a password, and shows up in no error and no log.
//
// Not done: events outlive neither the process of the queue (its tasks do not, either), nor a Close that runs out of time.
//
// It is a package of its own so that users of agenttest who have no broker do not compile a client for one.
package amqp
