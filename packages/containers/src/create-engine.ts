import type { PublicPorts } from './docker/firewall.js'
import { fileURLToPath } from 'node:url'
import type { Logger } from '@bloomery/telemetry'
import type { DiskKind } from './disk/container-disk.js'
import { DockerEngine } from './docker/docker-engine.js'
import type { ContainerEngine } from './engine.js'
import { ProcessEngine } from './process/process-engine.js'

/** What a role knows of its engine; each driver takes what concerns it. */
export interface EngineOptions {
  readonly kind: 'docker' | 'process'
  readonly installationId: string
  /** Where the containers' disks and records lie; one folder per role. */
  readonly folder: string
  readonly image: string
  /** As DOCKER_HOST. */
  readonly host: string | undefined
  readonly hostAddress: string
  readonly disk?: DiskKind | undefined
  readonly trustHostCertificates: boolean
  /** Lets `process` run what it cannot confine. */
  readonly allowUnconfined: boolean
  readonly platform?: PublicPorts & { readonly hosts: readonly string[] }
  /** The program that supervises one process; `process-supervisor.entry.js` beside the role's own by default. */
  readonly supervisorEntry?: string
  readonly logger: Logger
}

/** The driver that the operator chose. */
export function createEngine({
  kind,
  image,
  host,
  disk,
  supervisorEntry,
  allowUnconfined,
  ...common
}: EngineOptions): ContainerEngine {
  const shared = { ...common, ...(disk === undefined ? {} : { disk }) }
  if (kind === 'docker') return new DockerEngine({ ...shared, image, ...(host === undefined ? {} : { host }) })
  // Bundled, this file is part of a role's main.js; the supervisor is a program beside it.
  const entry = supervisorEntry ?? fileURLToPath(new URL('./process-supervisor.entry.js', import.meta.url))
  return new ProcessEngine({ ...shared, allowUnconfined, supervisorEntry: entry })
}
