import type Docker from 'dockerode'
import type { ContainerDisk } from '../disk/container-disk.js'
import type { ContainerSpec, Mount } from '../engine.js'
import { ADDRESS_LABEL, DISK_LABEL, INSTALLATION_LABEL, NAME_LABEL, type Names, PORTS_LABEL, PURPOSE_LABEL } from './names.js'

export const SUPERVISOR = '/usr/local/lib/bloomery/supervise'
const RING = '/run/bloomery/output'
const MIB = 1024 * 1024
/**
 * Weights are meant among apps, but engines put containers beside all else that the machine runs, each with 1024 shares: an app of 1 GB
 * (weight 12) shall count about as much as any of that, and not a hundredth.
 */
const SHARES_PER_WEIGHT = 82

interface Surroundings {
  readonly names: Names
  readonly disk: ContainerDisk
  readonly hostAddress: string
  readonly trust: { readonly mounts: readonly Mount[]; readonly environment: Readonly<Record<string, string>> }
  /** Bind-mounted where the image has no supervisor of its own. */
  readonly supervisorPath: string | undefined
  /** Hosts-file entries that every container gets. */
  readonly hosts: Readonly<Record<string, string>>
  /** The control group that its own lies in; the engine's custom when undefined. */
  readonly cgroupParent: string | undefined
}

/** What the engine is told for a container: nothing that could be had without asking is left to it. */
export function createOptions(spec: ContainerSpec, around: Surroundings): Docker.ContainerCreateOptions {
  const { names, disk } = around
  const hasHome =
    spec.layers.some(({ target }) => target === '/home/vcap') || spec.mounts.some(({ target }) => target === '/home/vcap')
  const mounts: Mount[] = [
    ...(spec.mounts.some(({ target }) => target === '/tmp') ? [] : [{ source: disk.tmp, target: '/tmp', readOnly: false }]),
    { source: disk.varTmp, target: '/var/tmp', readOnly: false },
    { source: disk.ring, target: RING, readOnly: false },
    ...(hasHome ? [] : [{ source: disk.home, target: '/home/vcap', readOnly: false }]),
    ...(around.supervisorPath === undefined ? [] : [{ source: around.supervisorPath, target: SUPERVISOR, readOnly: true }]),
    ...around.trust.mounts,
    ...spec.mounts,
  ]
  const hosts = { ...around.hosts, ...spec.extraHosts }
  const ports = spec.endpoint?.ports ?? []
  return {
    name: names.container(spec.name),
    Hostname: spec.name.slice(0, 63),
    Image: spec.image,
    User: '2000:2000',
    Entrypoint: [],
    Cmd: [SUPERVISOR, '--ring', RING, '--rate', String(spec.logRateLimit), '--', ...spec.command],
    Env: Object.entries({ ...around.trust.environment, ...spec.environment }).map(([name, value]) => `${name}=${value}`),
    ...(spec.workingDirectory === undefined ? {} : { WorkingDir: spec.workingDirectory }),
    Labels: {
      ...spec.labels,
      [INSTALLATION_LABEL]: names.installation,
      [PURPOSE_LABEL]: spec.purpose,
      [NAME_LABEL]: spec.name,
      [DISK_LABEL]: disk.folder,
      [PORTS_LABEL]: JSON.stringify(Object.fromEntries(ports.map(({ internal, external }) => [internal, external]))),
      ...(spec.endpoint === undefined ? {} : { [ADDRESS_LABEL]: spec.endpoint.address }),
    },
    StopSignal: 'SIGTERM',
    ExposedPorts: Object.fromEntries(ports.map(({ internal }) => [`${internal}/tcp`, {}])),
    HostConfig: {
      NetworkMode: names.network,
      PortBindings: Object.fromEntries(
        ports.map(({ internal, external }) => [`${internal}/tcp`, [{ HostIp: around.hostAddress, HostPort: String(external) }]]),
      ),
      Mounts: [
        ...spec.layers.map((layer, i) => overlayMount(spec, layer, i, around)),
        ...mounts.map(({ source, target, readOnly }) => ({
          Type: 'bind' as const,
          Source: source,
          Target: target,
          ReadOnly: readOnly,
        })),
      ],
      ExtraHosts: Object.entries(hosts).map(([host, address]) => `${host}:${address}`),
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges:true'],
      ReadonlyRootfs: true,
      Privileged: false,
      IpcMode: 'private',
      Memory: spec.memoryMb * MIB,
      MemorySwap: spec.memoryMb * MIB,
      ...(around.cgroupParent === undefined ? {} : { CgroupParent: around.cgroupParent }),
      CpuShares: Math.max(2, Math.round(spec.cpuWeight * SHARES_PER_WEIGHT)),
      ...(spec.cpuLimit === undefined ? {} : { NanoCpus: Math.round(spec.cpuLimit * 1e9) }),
      PidsLimit: spec.pidsLimit,
      Ulimits: [
        { Name: 'nofile', Soft: spec.fileDescriptors, Hard: spec.fileDescriptors },
        { Name: 'core', Soft: 0, Hard: 0 },
        ...(spec.fileSizeMb === undefined ? [] : [{ Name: 'fsize', Soft: spec.fileSizeMb * MIB, Hard: spec.fileSizeMb * MIB }]),
      ],
      // When the machine itself runs out of memory, apps go before what holds them.
      OomScoreAdj: 500,
      LogConfig: { Type: 'none', Config: {} },
      RestartPolicy: { Name: 'no' },
    },
    ...(spec.endpoint === undefined
      ? {}
      : { NetworkingConfig: { EndpointsConfig: { [names.network]: { IPAMConfig: { IPv4Address: spec.endpoint.address } } } } }),
  }
}

function overlayMount(
  spec: ContainerSpec,
  layer: ContainerSpec['layers'][number],
  index: number,
  { names, disk }: Surroundings,
): Docker.MountSettings {
  const writable = disk.layers[index]
  if (writable === undefined) throw new Error(`The disk of ${spec.name} has no layer ${index}`)
  const options = `lowerdir=${layer.lower.join(':')},upperdir=${writable.upper},workdir=${writable.work}`
  return {
    Type: 'volume',
    Source: names.volume(spec.name, index),
    Target: layer.target,
    VolumeOptions: {
      // Copying the image's content into a fresh volume would change the layer.
      NoCopy: true,
      Labels: { [INSTALLATION_LABEL]: names.installation, [NAME_LABEL]: spec.name },
      DriverConfig: { Name: 'local', Options: { type: 'overlay', device: 'overlay', o: options } },
    },
  }
}
