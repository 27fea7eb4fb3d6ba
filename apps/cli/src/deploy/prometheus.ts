import { Document } from 'yaml';
import { CONTAINER, type DeploymentPlan, type Engine, madeBy } from './plan.js';

/**
 * Prometheus' own file: whom it scrapes.
 * @param nameOf the name that stands for every container of a service
 */
export function prometheusText(
  { topology, groups }: DeploymentPlan,
  engine: Engine,
  nameOf: (service: string) => string = (service) => service,
): string {
  const document = new Document({
    global: { scrape_interval: '2s', evaluation_interval: '2s' },
    rule_files: ['/etc/prometheus/alerts.yaml'],
    scrape_configs: [
      {
        job_name: 'remio-hypervisor',
        static_configs: [{ targets: [`hypervisor:${CONTAINER.metricsPort}`] }],
      },
      {
        job_name: 'remio-vms',
        // By name, so that every instance of a scaled service is found.
        dns_sd_configs: [
          {
            names: groups.map(({ service }) => nameOf(service)),
            type: 'A',
            port: CONTAINER.metricsPort,
            refresh_interval: '2s',
          },
        ],
      },
    ],
  });
  document.commentBefore = ` ${madeBy(engine, topology)}`;
  return document.toString({ lineWidth: 0 });
}
