import { CONTAINER } from './plan.js';

/** An object of Kubernetes. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly [field: string]: unknown };
  readonly [field: string]: unknown;
}

/** What every object of a deployment has, and pods are found by. */
export const PART_OF = { 'app.kubernetes.io/part-of': 'remio' } as const;

export const componentLabels = (component: 'hypervisor' | 'vm' | 'experiment'): Readonly<Record<string, string>> => ({
  ...PART_OF,
  'app.kubernetes.io/component': component,
});

/** Namespaces with this label may scrape metrics. */
const SCRAPES = { 'remio-metrics': 'scrape' } as const;
const DNS_PORT = 53;

const policy = (name: string, spec: Readonly<Record<string, unknown>>): Manifest => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name, labels: PART_OF },
  spec,
});

const tcp = (port: number): object => ({ protocol: 'TCP', port });

/**
 * Nobody talks to anybody, but: VMs ask for the hypervisor's name, and talk to it; metrics are scraped from namespaces that
 * may. What a node asks of its own pods, as probes do, is never held off.
 * @param lastMetricsPort of those of a pod's containers, from the first on
 * @param pods that the VMs are in: those in the hypervisor's need nobody's leave
 */
export function networkPolicies(lastMetricsPort: number, pods: 'many' | 'one'): readonly Manifest[] {
  const hypervisor = { podSelector: { matchLabels: componentLabels('hypervisor') } };
  const vm = { podSelector: { matchLabels: componentLabels('vm') } };
  const { port, metricsPort } = CONTAINER;
  const metrics = { ...tcp(metricsPort), ...(lastMetricsPort > metricsPort ? { endPort: lastMetricsPort } : {}) };
  const dns = { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'kube-system' } } };
  const between = [
    policy('hypervisor', {
      ...hypervisor,
      policyTypes: ['Ingress'],
      ingress: [{ from: [vm], ports: [tcp(port)] }],
    }),
    policy('vm', {
      ...vm,
      policyTypes: ['Egress'],
      egress: [
        { to: [hypervisor], ports: [tcp(port)] },
        { to: [dns], ports: [{ protocol: 'UDP', port: DNS_PORT }, tcp(DNS_PORT)] },
      ],
    }),
  ];
  return [
    policy('deny-all', { podSelector: { matchLabels: PART_OF }, policyTypes: ['Ingress', 'Egress'] }),
    ...(pods === 'many' ? between : []),
    policy('metrics', {
      podSelector: { matchLabels: PART_OF },
      policyTypes: ['Ingress'],
      ingress: [{ from: [{ namespaceSelector: { matchLabels: SCRAPES } }], ports: [metrics] }],
    }),
  ];
}
