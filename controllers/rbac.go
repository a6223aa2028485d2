package controllers

// What the manager may do. `make manifests` turns these markers into config/rbac/role.yaml.
// Leases and events of the leader election are a Role in the manager's own namespace; what
// has a namespace here becomes another one.

// +kubebuilder:rbac:groups="",resources=services;pods;namespaces;nodes,verbs=get;list;watch
// +kubebuilder:rbac:groups=networking.k8s.io,resources=servicecidrs,verbs=get;list;watch
// +kubebuilder:rbac:groups=discovery.k8s.io,resources=endpointslices,verbs=get;list;watch
// +kubebuilder:rbac:groups=mesh.fairlead.dev,resources=virtualservices;destinationrules;routerules;serviceentries;gateways,verbs=get;list;watch
// +kubebuilder:rbac:groups=mesh.fairlead.dev,resources=virtualservices/status;destinationrules/status;routerules/status;serviceentries/status;gateways/status,verbs=patch
// +kubebuilder:rbac:groups=apps,resources=controllerrevisions,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups="",namespace=fairlead-system,resources=configmaps,verbs=get;list;watch
// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=validatingwebhookconfigurations,verbs=create
// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=validatingwebhookconfigurations,resourceNames=fairlead,verbs=get;list;watch;patch

// The mesh's authority, and the roots that it tells of. What is to be created cannot be limited
// by name.
// +kubebuilder:rbac:groups="",namespace=fairlead-system,resources=secrets,resourceNames=fairlead-authority,verbs=get;list;watch;update
// +kubebuilder:rbac:groups="",namespace=fairlead-system,resources=configmaps,resourceNames=fairlead-trust;fairlead-traffic,verbs=update
// +kubebuilder:rbac:groups="",namespace=fairlead-system,resources=secrets;configmaps,verbs=create
// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create

// Certificates: the Secrets of service accounts, and the MeshCertificates that say what is to be
// in them; mesh-root is made where there is none.
// +kubebuilder:rbac:groups="",resources=serviceaccounts,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=mesh.fairlead.dev,resources=meshcertificates,verbs=get;list;watch;create
// +kubebuilder:rbac:groups=mesh.fairlead.dev,resources=meshcertificates/status,verbs=patch
// +kubebuilder:rbac:groups=cert-manager.io,resources=certificaterequests,verbs=get;list;watch;create;delete
