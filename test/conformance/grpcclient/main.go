// Command grpcclient is an application that calls by gRPC's own xDS client, without a proxy, as
// GRPC_XDS_BOOTSTRAP says. It calls gRPC's health service of the target given once for each line
// of its input, which has headers as name=value, and writes what came of it to a line: the
// header version of the answer, or the code of the failure.
//
// It is a module of its own, so that what grpc-go needs for that stays out of Fairlead's.
package main

import (
	"bufio"
	"context"
	"log"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	_ "google.golang.org/grpc/xds" // the resolver
)

func main() {
	connection, err := grpc.NewClient("xds:///"+os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if _, err := os.Stdout.WriteString(call(connection, strings.Fields(lines.Text())) + "\n"); err != nil {
			log.Fatal(err)
		}
	}
}

func call(connection *grpc.ClientConn, headers []string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, header := range headers {
		name, value, _ := strings.Cut(header, "=")
		ctx = metadata.AppendToOutgoingContext(ctx, name, value)
	}
	var answered metadata.MD
	_, err := healthpb.NewHealthClient(connection).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.Header(&answered))
	if err != nil {
		log.Print(err)
		return status.Code(err).String()
	}
	return strings.Join(answered.Get("version"), ",")
}
