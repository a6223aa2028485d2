package controllers_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/controllers"
	"fairlead.dev/fairlead/internal/agents"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/xds"
)

var _ = Describe("The mesh's authority", Ordered, func() {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "fairlead-system", Name: controllers.AuthoritySecret}}
	told := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "fairlead-system", Name: controllers.TrustConfigMap}}
	roots := func(ctx SpecContext) func() string {
		return func() string {
			if writer.Get(ctx, client.ObjectKeyFromObject(told), told) != nil {
				return ""
			}
			return told.Data[controllers.TrustKey]
		}
	}
	BeforeEach(func(ctx SpecContext) {
		for _, object := range []client.Object{secret, told} {
			Expect(client.IgnoreNotFound(writer.Delete(ctx, object))).To(Succeed())
		}
	})

	It("is one, though replicas that both lead make it, and comes back as it was", func(ctx SpecContext) {
		one, other := startReplica(""), startReplica("")
		Eventually(one.source.Get).ShouldNot(BeNil(), "the authority is made")
		Eventually(func() bool { return one.source.Get().Equal(other.source.Get()) }).Should(BeTrue(), "both have the same")
		made := one.source.Get()
		Eventually(roots(ctx)).Should(Equal(string(made.Bundle())), "agents that trust nobody yet read whom to trust")

		Expect(writer.Get(ctx, client.ObjectKeyFromObject(secret), secret)).To(Succeed())
		before := secret.UID
		Expect(writer.Delete(ctx, secret)).To(Succeed())
		Eventually(func(g Gomega) {
			g.Expect(writer.Get(ctx, client.ObjectKeyFromObject(secret), secret)).To(Succeed())
			g.Expect(secret.UID).NotTo(Equal(before))
		}).Should(Succeed(), "a Secret that was deleted is made again")
		Expect(pki.DecodeAuthority(secret.Data)).To(HaveField("Bundle()", made.Bundle()), "with the same root: nobody would trust a new one")

		told.Data[controllers.TrustKey] = "nobody"
		Expect(writer.Update(ctx, told)).To(Succeed())
		Eventually(roots(ctx)).Should(Equal(string(made.Bundle())), "what somebody else wrote is put right")
	})

	It("is changed by one at a time, and every replica has it then", func(ctx SpecContext) {
		leader, follower := startReplica("authority"), startReplica("authority")
		Eventually(follower.source.Get).ShouldNot(BeNil())
		generation := func(number int) *pki.Generation {
			g, err := pki.NewGeneration(number, "cluster.local", time.Now(), 365*24*time.Hour)
			Expect(err).NotTo(HaveOccurred())
			return g
		}
		made := func(changed *pki.Authority, err error) *pki.Authority {
			Expect(err).NotTo(HaveOccurred())
			return changed
		}
		first := follower.source.Get()
		second := made(made(first.Add(generation(2))).Trust(2))
		Expect(follower.authority.Replace(ctx, first, second)).To(Succeed())
		Expect(leader.authority.Replace(ctx, first, made(first.Add(generation(3))))).To(MatchError(ContainSubstring("it is not as this manager knows it")), "who is late undoes nothing")
		after := made(second.Activate(2))
		Expect(leader.authority.Replace(ctx, second, after)).To(Succeed())
		Expect(leader.source.Get().Equal(after)).To(BeTrue(), "who changed it has it at once")
		for _, r := range []*replica{leader, follower} {
			Eventually(r.source.Get).Should(And(HaveField("Active", 2), HaveField("Trusted", []int{1, 2}), HaveField("Generations", HaveLen(2))))
		}
		Eventually(roots(ctx)).Should(Equal(string(leader.source.Get().Bundle())))

		unwhole, _ := after.Drop(2)
		Expect(leader.authority.Replace(ctx, after, unwhole)).To(MatchError(ContainSubstring("Secret fairlead-system/fairlead-authority")), "an authority that would not be whole is not written")
	})

	It("stays in use when its Secret is damaged, which nobody writes over", func(ctx SpecContext) {
		r := startReplica("")
		Eventually(r.source.Get).ShouldNot(BeNil())
		made := r.source.Get()
		Expect(writer.Get(ctx, client.ObjectKeyFromObject(secret), secret)).To(Succeed())
		secret.Data = map[string][]byte{"authority.json": []byte("{")}
		Expect(writer.Update(ctx, secret)).To(Succeed())
		Expect(r.authority.Replace(ctx, made, made)).To(MatchError(ContainSubstring("authority.json")))
		Consistently(func(g Gomega) {
			g.Expect(writer.Get(ctx, client.ObjectKeyFromObject(secret), secret)).To(Succeed())
			g.Expect(secret.Data).To(HaveLen(1))
		}, "300ms").Should(Succeed())
		Expect(r.source.Get().Equal(made)).To(BeTrue())
	})
})

var _ = Describe("Tokens of agents", func() {
	It("prove who a Pod is, if they are for us and bound to it", func(ctx SpecContext) {
		namespace := newNamespace(ctx)
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "reviews"}}
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "reviews-1"},
			Spec:       corev1.PodSpec{ServiceAccountName: account.Name, Containers: []corev1.Container{{Name: "app", Image: "app"}}},
		}
		Expect(writer.Create(ctx, account)).To(Succeed())
		Expect(writer.Create(ctx, pod)).To(Succeed())
		token := func(audience string, bound *authenticationv1.BoundObjectReference) string {
			request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}, BoundObjectRef: bound}}
			Expect(writer.SubResource("token").Create(ctx, account, request)).To(Succeed())
			return request.Status.Token
		}
		toPod := &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}

		manager, err := client.New(asManager(), client.Options{Scheme: scheme})
		Expect(err).NotTo(HaveOccurred())
		reviewer := agents.NewTokenReviewer(manager)
		good := token(agents.Audience, toPod)
		Expect(reviewer.Review(ctx, good)).To(Equal(&xds.Caller{Namespace: namespace, ServiceAccount: "reviews", Pod: "reviews-1"}))
		for why, bad := range map[string]string{
			"it is not bound to a Pod":  token(agents.Audience, nil),
			"the API server refuses it": token("somebody-else", toPod),
			"more than":                 string(make([]byte, 1<<15)),
		} {
			_, err := reviewer.Review(ctx, bad)
			Expect(err).To(And(MatchError(agents.ErrToken), MatchError(ContainSubstring(why))))
			Expect(err.Error()).NotTo(ContainSubstring(bad), "the token is not told")
		}

		Expect(writer.Delete(ctx, pod, client.GracePeriodSeconds(0))).To(Succeed())
		Eventually(func() error { _, err := reviewer.Review(ctx, good); return err }).
			Should(MatchError(agents.ErrToken), "a token ends with its Pod")
	})
})
