package controllers_test

import (
	"net/netip"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/mesh"
)

var _ = Describe("The mesh in the store", func() {
	var r *replica
	var namespace string

	BeforeEach(func(ctx SpecContext) {
		r = startReplica("")
		namespace = newNamespace(ctx)
	})

	service := func(name string) *corev1.Service {
		return &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 9080}}},
		}
	}

	It("follows Namespaces", func(ctx SpecContext) {
		Eventually(func() *mesh.Namespace { return r.store.Namespace(namespace) }).Should(HaveValue(Equal(mesh.Namespace{Name: namespace})))
		object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
		Expect(writer.Patch(ctx, object, client.RawPatch("application/merge-patch+json",
			[]byte(`{"metadata":{"labels":{"mesh.fairlead.dev/injection":"enabled"},"annotations":{"mesh.fairlead.dev/mtls":"DISABLE"}}}`)))).To(Succeed())
		Eventually(func() *mesh.Namespace { return r.store.Namespace(namespace) }).Should(HaveValue(Equal(
			mesh.Namespace{Name: namespace, Meshed: true, MTLS: mesh.MTLSDisable})))
	})

	It("follows Services until they are gone or become an alias", func(ctx SpecContext) {
		reviews, ratings := service("reviews"), service("ratings")
		Expect(writer.Create(ctx, reviews)).To(Succeed())
		Expect(writer.Create(ctx, ratings)).To(Succeed())
		inStore := func(name string) func() *mesh.Service {
			return func() *mesh.Service { return r.store.Service(fullHost(name, namespace)) }
		}
		Eventually(inStore("reviews")).Should(HaveField("Ports", Equal([]mesh.ServicePort{{Name: "http", Number: 9080, Protocol: mesh.HTTP}})))
		Eventually(inStore("ratings")).ShouldNot(BeNil())

		reviews.Spec.Ports[0].AppProtocol = new("grpc")
		Expect(writer.Update(ctx, reviews)).To(Succeed())
		Eventually(inStore("reviews")).Should(HaveField("Ports", ConsistOf(HaveField("Protocol", mesh.GRPC))))

		Expect(writer.Delete(ctx, reviews)).To(Succeed())
		Eventually(inStore("reviews")).Should(BeNil())
		ratings.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "ratings.example"}
		Expect(writer.Update(ctx, ratings)).To(Succeed())
		Eventually(inStore("ratings")).Should(BeNil())
	})

	It("follows EndpointSlices, one that moves to another Service too", func(ctx SpecContext) {
		slice := &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, Name: "reviews-1",
				Labels: map[string]string{discoveryv1.LabelServiceName: "reviews"},
			},
			AddressType: discoveryv1.AddressTypeIPv4,
			Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"198.18.0.1"}}},
			Ports:       []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(8080))}},
		}
		Expect(writer.Create(ctx, slice)).To(Succeed())
		endpoints := func(name string) func() []mesh.Endpoint {
			return func() []mesh.Endpoint { return r.store.Endpoints(fullHost(name, namespace)) }
		}
		Eventually(endpoints("reviews")).Should(ConsistOf(SatisfyAll(
			HaveField("Address", netip.MustParseAddr("198.18.0.1")), HaveField("Port", uint16(8080)), HaveField("Ready", true))))

		slice.Labels[discoveryv1.LabelServiceName] = "ratings"
		Expect(writer.Update(ctx, slice)).To(Succeed())
		Eventually(endpoints("ratings")).Should(HaveLen(1))
		Expect(endpoints("reviews")()).To(BeEmpty())
		Expect(writer.Delete(ctx, slice)).To(Succeed())
		Eventually(endpoints("ratings")).Should(BeEmpty())
	})

	It("follows Pods, and Nodes for where they run", func(ctx SpecContext) {
		nodeName := namespace + "-node"
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, Name: "reviews-v1",
				Labels: map[string]string{"app": "reviews", "version": "v1", v1alpha1.TLSModeLabel: v1alpha1.TLSModeMutual},
				Annotations: map[string]string{
					v1alpha1.ModeAnnotation: v1alpha1.ModeExplicit, v1alpha1.MTLSAnnotation: "Strict", "other": "dropped",
				},
			},
			Spec: corev1.PodSpec{NodeName: nodeName, Containers: []corev1.Container{{
				Name: "app", Image: "none", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 9080}},
			}}},
		}
		Expect(writer.Create(ctx, pod)).To(Succeed())
		pod.Status.Phase, pod.Status.PodIP = corev1.PodRunning, "198.18.0.1"
		pod.Status.PodIPs = []corev1.PodIP{{IP: "198.18.0.1"}}
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		Expect(writer.Status().Update(ctx, pod)).To(Succeed())
		workload := func() *mesh.Workload {
			return r.store.Workload(mesh.NamespacedName{Namespace: namespace, Name: "reviews-v1"})
		}
		Eventually(workload).Should(HaveField("Ready", true))
		Expect(workload()).To(HaveValue(SatisfyAll(
			HaveField("Explicit", true), HaveField("HasCertificates", true), HaveField("MTLS", mesh.MTLSStrict), HaveField("Labels", HaveKeyWithValue("version", "v1")),
			HaveField("Ports", Equal([]mesh.WorkloadPort{{Number: 9080, Protocol: mesh.HTTP}})),
			HaveField("Locality", mesh.Locality{}), HaveField("ServiceAccount", "default"))))

		By("the node turning up after the Pod, and then moving")
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName, Labels: map[string]string{corev1.LabelTopologyZone: "a"}}}
		Expect(writer.Create(ctx, node)).To(Succeed())
		Eventually(workload).Should(HaveField("Locality.Zone", "a"))
		node.Labels[corev1.LabelTopologyZone] = "b"
		Expect(writer.Update(ctx, node)).To(Succeed())
		Eventually(workload).Should(HaveField("Locality.Zone", "b"))

		By("the Pod finishing")
		pod.Status.Phase = corev1.PodSucceeded
		Expect(writer.Status().Update(ctx, pod)).To(Succeed())
		Eventually(workload).Should(BeNil())
	})

	It("holds a VirtualService's last accepted spec, and nothing of one that never was", func(ctx SpecContext) {
		host := fullHost("reviews", namespace)
		object := virtualService(namespace, "reviews", "reviews")
		generations := func() []int64 {
			var all []int64
			for _, table := range r.store.Routes(host) {
				all = append(all, table.Origin.Generation)
			}
			return all
		}
		reason := func() string {
			return conditionIn(r, idOf(convert.KindVirtualService, object), v1alpha1.ConditionAccepted)
		}
		Expect(writer.Create(ctx, object)).To(Succeed())
		Eventually(generations).Should(Equal([]int64{1}))

		By("a change to what is not implemented")
		fault := &v1alpha1.HTTPFaultInjection{Abort: &v1alpha1.HTTPFaultAbort{HTTP2Error: "REFUSED_STREAM"}}
		change(ctx, object, func() { object.Spec.HTTP[0].Fault = fault })
		Eventually(reason).Should(Equal("False/NotImplemented"))
		Expect(generations()).To(Equal([]int64{1}), "the last accepted spec stays")

		By("a repair")
		change(ctx, object, func() { object.Spec.HTTP[0].Fault = nil })
		Eventually(generations).Should(Equal([]int64{3}))

		By("another object of the same name that is not accepted")
		Expect(writer.Delete(ctx, object)).To(Succeed())
		again := virtualService(namespace, "reviews", "reviews")
		again.Spec.HTTP[0].Fault = fault
		Expect(writer.Create(ctx, again)).To(Succeed())
		Eventually(reason).Should(Equal("False/NotImplemented"))
		Eventually(generations).Should(BeEmpty(), "the spec of the object before is not kept")
		Expect(writer.Delete(ctx, again)).To(Succeed())
		Eventually(reason).Should(BeEmpty())
	})

	It("follows DestinationRules", func(ctx SpecContext) {
		rule := &v1alpha1.DestinationRule{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "reviews"},
			Spec: v1alpha1.DestinationRuleSpec{Host: "reviews", Subsets: []v1alpha1.Subset{
				{Name: "v1", Labels: map[string]string{"version": "v1"}},
			}},
		}
		policies := func() []*mesh.Policy { return r.store.Policies(fullHost("reviews", namespace)) }
		Expect(writer.Create(ctx, rule)).To(Succeed())
		Eventually(policies).Should(ConsistOf(HaveField("Subsets", ConsistOf(HaveField("Name", "v1")))))
		Expect(writer.Delete(ctx, rule)).To(Succeed())
		Eventually(policies).Should(BeEmpty())
	})

	It("is not touched by what is written into a status", func(ctx SpecContext) {
		object := virtualService(namespace, "reviews", "reviews")
		id := idOf(convert.KindVirtualService, object)
		Expect(writer.Create(ctx, object)).To(Succeed())
		Eventually(func() map[mesh.ObjectID]int64 { return r.store.Take().Objects }).Should(HaveKeyWithValue(id, int64(1)))
		for acknowledged := range 3 {
			deliver(r, id, 1, 2, acknowledged)
		}
		Eventually(stored(ctx, object)).Should(HaveField("Proxies", HaveField("Acknowledged", int32(2))))
		Eventually(func() bool { _, open := r.table.Unwritten(id); return open }).Should(BeFalse())
		Consistently(func() map[mesh.ObjectID]int64 { return r.store.Take().Objects }, "300ms").Should(BeEmpty())
	})

	It("is whole as soon as the primer says so", func(ctx SpecContext) {
		for _, name := range []string{"a", "b", "c"} {
			Expect(writer.Create(ctx, service(name))).To(Succeed())
			Expect(writer.Create(ctx, virtualService(namespace, name, name))).To(Succeed())
		}
		second := startReplica("primed-only")
		for _, name := range []string{"a", "b", "c"} {
			Expect(second.store.Service(fullHost(name, namespace))).NotTo(BeNil())
			Expect(second.store.Routes(fullHost(name, namespace))).To(HaveLen(1))
		}
	})
})
