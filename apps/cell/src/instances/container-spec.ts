import type { ContainerSpec, ReservedEndpoint } from '@bloomery/containers'
import type { InstanceEndpoint } from '@bloomery/contracts'
import { BINDING_FILES_FOLDER } from '@bloomery/domain'
import type { InstanceIdentities } from '../tls/instance-identities.js'
import { instanceEnvironment } from './environment.js'
import { type InstanceRecord, withoutSecrets } from './instance-record.js'
import { launchCommand, type LaunchInfo } from './launch.js'

/** The record as it was at the start, for an agent whose own memory of it is lost. */
export const RECORD_LABEL = 'bloomery.record'

/** What the engine is asked to run for an instance. */
export function containerSpecOf(input: {
  readonly record: InstanceRecord
  readonly endpoint: InstanceEndpoint
  readonly reserved: ReservedEndpoint
  /** The topmost first. */
  readonly dropletFolders: readonly string[]
  readonly launch: LaunchInfo
  readonly environment: Readonly<Record<string, string>>
  /** Of its bindings. */
  readonly files: Readonly<Record<string, string>> | undefined
  /** Where its certificate will lie, if it gets one. */
  readonly identity: Pick<InstanceIdentities, 'secretFiles' | 'environment' | 'mounts'> | undefined
  readonly image: string
}): ContainerSpec {
  const { record, endpoint, reserved } = input
  const { spec, instanceGuid, index } = record
  return {
    name: instanceGuid,
    purpose: 'instance',
    labels: {
      [RECORD_LABEL]: JSON.stringify(withoutSecrets({ ...record, endpoint })),
      'bloomery.app': spec.appGuid,
      'bloomery.process': spec.processGuid,
      'bloomery.index': String(index),
      // The first app that `npm start` pushes by itself may run where nothing else may.
      ...(isSample(record) ? { 'bloomery.sample': 'true' } : {}),
    },
    image: input.image,
    command: launchCommand(spec.command, input.launch),
    environment: {
      ...instanceEnvironment({ instanceGuid, index, memoryMb: spec.memoryMb, endpoint, base: input.environment }),
      ...input.identity?.environment,
    },
    workingDirectory: '/home/vcap',
    mounts: input.identity?.mounts ?? [],
    secretFiles: [
      ...(input.files === undefined ? [] : [{ target: BINDING_FILES_FOLDER, files: input.files }]),
      ...(input.identity === undefined ? [] : [input.identity.secretFiles]),
    ],
    layers: [{ lower: input.dropletFolders, target: '/home/vcap' }],
    memoryMb: spec.memoryMb,
    diskMb: spec.diskMb,
    cpuWeight: spec.cpuWeight,
    pidsLimit: spec.pidsLimit,
    fileDescriptors: spec.fileDescriptors,
    endpoint: reserved,
    logRateLimit: spec.logRateLimit,
  }
}

const isSample = ({ spec }: InstanceRecord): boolean =>
  spec.appName === 'hello-node' && spec.spaceName === 'dev' && spec.organizationName === 'bloomery'
