# Two images: --target manager, and --target agent with the pinned Envoy in it.
ARG BUILDER=golang:1.26
ARG FETCHER=python:3-slim
# A static program needs nothing at all; Envoy needs glibc. Choose a distroless image of
# yours where you have one.
ARG MANAGER_BASE=scratch
ARG AGENT_BASE=debian:12-slim

FROM --platform=$BUILDPLATFORM ${BUILDER} AS build
ARG TARGETOS TARGETARCH
WORKDIR /src
# Modules change less often than the source: they are a layer of their own.
COPY go.mod go.sum ./
RUN go mod download
COPY main.go ./
COPY api/ api/
COPY config/ config/
COPY controllers/ controllers/
COPY internal/ internal/
COPY webhooks/ webhooks/
COPY agent/ agent/
ENV CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false" GOOS=${TARGETOS} GOARCH=${TARGETARCH}
RUN go build -ldflags '-s -w' -o /out/fairlead-manager . \
 && go build -ldflags '-s -w' -o /out/fairlead-agent ./agent

FROM ${FETCHER} AS envoy
COPY hack/envoy/ /hack/envoy/
RUN bash /hack/envoy/fetch.sh /out

FROM ${AGENT_BASE} AS agent
COPY --from=build /out/fairlead-agent /fairlead-agent
COPY --from=envoy /out/envoy /envoy
USER 65532:65532
ENTRYPOINT ["/fairlead-agent"]
CMD ["proxy"]

# Last, so that it is what a build without --target makes.
FROM ${MANAGER_BASE} AS manager
COPY --from=build /out/fairlead-manager /fairlead-manager
USER 65532:65532
ENTRYPOINT ["/fairlead-manager"]
