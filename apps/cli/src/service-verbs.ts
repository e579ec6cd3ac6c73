import type { Flags } from './command-line.js'
import { force, hostAndPath, otherSpace } from './shared-flags.js'
import { verb, type Verb } from './verb.js'

const config = {
  config: {
    kind: 'text',
    short: 'c',
    long: 'config',
    value: 'JSON',
    summary: 'parameters for the broker: JSON, or a file of it',
  },
} as const satisfies Flags
const tags = {
  tags: { kind: 'text', short: 't', long: 'tags', value: 'TAGS', summary: 'tags, separated by commas' },
} as const satisfies Flags
const broker = {
  broker: { kind: 'text', short: 'b', long: 'broker', value: 'BROKER', summary: 'the broker, where several offer the same' },
} as const satisfies Flags
/** bloom waits in any case; scripts written for cf say so. */
const wait = {
  wait: { kind: 'switch', short: 'w', long: 'wait', summary: 'as it always does: accepted for scripts made for cf' },
} as const satisfies Flags
const offering = {
  offering: { kind: 'text', short: 'e', long: 'offering', value: 'OFFERING', summary: 'only this offering' },
} as const satisfies Flags
const plan = { plan: { kind: 'text', short: 'p', long: 'plan', value: 'PLAN', summary: 'the plan' } } as const satisfies Flags
const org = {
  org: { kind: 'text', short: 'o', long: 'org', value: 'ORG', summary: 'only for this org' },
} as const satisfies Flags
const userProvided = {
  credentials: { kind: 'text', short: 'p', long: 'credentials', value: 'JSON', summary: 'credentials: JSON, or a file of it' },
  drain: {
    kind: 'text',
    short: 'l',
    long: 'syslog-drain',
    value: 'URL',
    summary: 'where logs of bound apps go: syslog, syslog-tls or https',
  },
  routeService: {
    kind: 'text',
    short: 'r',
    long: 'route-service',
    value: 'URL',
    summary: 'https address that requests of bound routes pass through',
  },
  ...tags,
} as const satisfies Flags

const GROUP = 'Services'
const ADMINISTRATION = 'Service administration'

/** The verbs about services, their bindings and brokers. They wait for brokers, as cf does with --wait. */
export const SERVICE_VERBS: readonly Verb[] = [
  verb({
    name: 'marketplace',
    alias: 'm',
    group: GROUP,
    summary: 'List what services are offered here',
    flags: {
      ...offering,
      ...broker,
      showUnavailable: { kind: 'switch', long: 'show-unavailable', summary: 'plans too that cannot be had' },
    },
    run: async (context, _operands, flags) => (await import('./commands/services/marketplace.js')).marketplace(context, flags),
  }),
  verb({
    name: 'services',
    alias: 's',
    group: GROUP,
    summary: 'List the service instances of the space',
    run: async (context) => (await import('./commands/services/instances.js')).listServices(context),
  }),
  verb({
    name: 'service',
    group: GROUP,
    summary: 'Show a service instance and what it is bound to',
    operands: ['SERVICE'],
    flags: {
      guid: { kind: 'switch', long: 'guid', summary: 'print its guid alone' },
      params: { kind: 'switch', long: 'params', summary: 'print its parameters alone' },
    },
    run: async (context, [name], flags) => (await import('./commands/services/instances.js')).showService(context, name, flags),
  }),
  verb({
    name: 'create-service',
    alias: 'cs',
    group: GROUP,
    summary: 'Make a service instance',
    operands: ['OFFERING', 'PLAN', 'SERVICE'],
    flags: { ...broker, ...config, ...tags, ...wait },
    examples: ['bloom create-service mysql shared db', `bloom create-service mysql dedicated db -c '{"version":"8"}'`],
    run: async (context, [what, planName, name], flags) =>
      (await import('./commands/services/instances.js')).createService(context, what, planName, name, flags),
  }),
  verb({
    name: 'update-service',
    group: GROUP,
    summary: "Change an instance's plan, parameters or tags",
    operands: ['SERVICE'],
    flags: { ...plan, ...config, ...tags, ...wait },
    run: async (context, [name], flags) => (await import('./commands/services/instances.js')).updateService(context, name, flags),
  }),
  verb({
    name: 'upgrade-service',
    group: GROUP,
    summary: "Bring an instance to its plan's newest version",
    operands: ['SERVICE'],
    flags: { ...force, ...wait },
    run: async (context, [name], flags) =>
      (await import('./commands/services/instances.js')).upgradeService(context, name, flags),
  }),
  verb({
    name: 'delete-service',
    alias: 'ds',
    group: GROUP,
    summary: 'Delete a service instance',
    operands: ['SERVICE'],
    flags: { ...force, ...wait },
    run: async (context, [name], flags) => (await import('./commands/services/instances.js')).deleteService(context, name, flags),
  }),
  verb({
    name: 'rename-service',
    group: GROUP,
    summary: 'Rename a service instance',
    operands: ['SERVICE', 'NEW_NAME'],
    run: async (context, [name, newName]) =>
      (await import('./commands/services/instances.js')).renameService(context, name, newName),
  }),
  verb({
    name: 'share-service',
    group: GROUP,
    summary: 'Let another space use a service instance',
    operands: ['SERVICE'],
    flags: otherSpace,
    run: async (context, [name], flags) =>
      (await import('./commands/services/instances.js')).shareService(context, name, flags, false),
  }),
  verb({
    name: 'unshare-service',
    group: GROUP,
    summary: 'Let another space use a service instance no more',
    operands: ['SERVICE'],
    flags: otherSpace,
    run: async (context, [name], flags) =>
      (await import('./commands/services/instances.js')).shareService(context, name, flags, true),
  }),
  verb({
    name: 'bind-service',
    alias: 'bs',
    group: GROUP,
    summary: "Give an app a service instance's credentials",
    operands: ['APP_NAME', 'SERVICE'],
    flags: {
      ...config,
      ...wait,
      bindingName: { kind: 'text', long: 'binding-name', value: 'NAME', summary: 'name under which the app finds it' },
      strategy: {
        kind: 'text',
        long: 'strategy',
        value: 'STRATEGY',
        summary: 'multiple: one more binding, to rotate credentials',
      },
    },
    examples: ['bloom bind-service my-app db', 'bloom bind-service my-app db --strategy multiple'],
    run: async (context, [app, name], flags) =>
      (await import('./commands/services/bindings.js')).bindService(context, app, name, flags),
  }),
  verb({
    name: 'unbind-service',
    alias: 'us',
    group: GROUP,
    summary: 'Take the credentials back from an app',
    operands: ['APP_NAME', 'SERVICE'],
    flags: { guid: { kind: 'text', long: 'guid', value: 'GUID', summary: 'only the binding of this guid' }, ...wait },
    run: async (context, [app, name], flags) =>
      (await import('./commands/services/bindings.js')).unbindService(context, app, name, flags),
  }),
  verb({
    name: 'cleanup-outdated-service-bindings',
    group: GROUP,
    summary: 'Delete all but the newest bindings of an app',
    operands: ['APP_NAME'],
    flags: {
      keepLast: { kind: 'count', long: 'keep-last', value: 'N', summary: 'how many to keep for each instance; default 1' },
      service: { kind: 'text', long: 'service-instance', value: 'SERVICE', summary: 'only of this instance' },
      ...force,
      ...wait,
    },
    run: async (context, [app], flags) => (await import('./commands/services/bindings.js')).cleanUpBindings(context, app, flags),
  }),
  verb({
    name: 'create-service-key',
    alias: 'csk',
    group: GROUP,
    summary: 'Make credentials without an app',
    operands: ['SERVICE', 'KEY'],
    flags: { ...config, ...wait },
    run: async (context, [name, key], flags) =>
      (await import('./commands/services/bindings.js')).createKey(context, name, key, flags),
  }),
  verb({
    name: 'service-keys',
    alias: 'sk',
    group: GROUP,
    summary: "List a service instance's keys",
    operands: ['SERVICE'],
    run: async (context, [name]) => (await import('./commands/services/bindings.js')).listKeys(context, name),
  }),
  verb({
    name: 'service-key',
    group: GROUP,
    summary: 'Show the credentials of a key',
    operands: ['SERVICE', 'KEY'],
    flags: { guid: { kind: 'switch', long: 'guid', summary: 'print its guid alone' } },
    run: async (context, [name, key], flags) =>
      (await import('./commands/services/bindings.js')).showKey(context, name, key, flags),
  }),
  verb({
    name: 'delete-service-key',
    alias: 'dsk',
    group: GROUP,
    summary: 'Delete a key',
    operands: ['SERVICE', 'KEY'],
    flags: { ...force, ...wait },
    run: async (context, [name, key], flags) =>
      (await import('./commands/services/bindings.js')).deleteKey(context, name, key, flags),
  }),
  verb({
    name: 'create-user-provided-service',
    alias: 'cups',
    group: GROUP,
    summary: 'Make a service instance of what you have already',
    operands: ['SERVICE'],
    flags: userProvided,
    examples: [
      `bloom create-user-provided-service db -p '{"uri":"mysql://…"}'`,
      'bloom cups logs -l syslog-tls://logs.example.com:6514',
    ],
    run: async (context, [name], flags) =>
      (await import('./commands/services/instances.js')).userProvidedService(context, name, flags, true),
  }),
  verb({
    name: 'update-user-provided-service',
    alias: 'uups',
    group: GROUP,
    summary: 'Change a user-provided service instance',
    operands: ['SERVICE'],
    flags: userProvided,
    run: async (context, [name], flags) =>
      (await import('./commands/services/instances.js')).userProvidedService(context, name, flags, false),
  }),
  verb({
    name: 'bind-route-service',
    alias: 'brs',
    group: GROUP,
    summary: 'Let requests of a route pass through a service',
    operands: ['DOMAIN', 'SERVICE'],
    flags: { ...hostAndPath, ...config, ...wait },
    run: async (context, [domain, name], flags) =>
      (await import('./commands/services/bindings.js')).bindRouteService(context, domain, name, flags),
  }),
  verb({
    name: 'unbind-route-service',
    alias: 'urs',
    group: GROUP,
    summary: 'Let requests of a route pass through a service no more',
    operands: ['DOMAIN', 'SERVICE'],
    flags: { ...hostAndPath, ...force, ...wait },
    run: async (context, [domain, name], flags) =>
      (await import('./commands/services/bindings.js')).unbindRouteService(context, domain, name, flags),
  }),
  verb({
    name: 'service-brokers',
    group: ADMINISTRATION,
    summary: 'List the service brokers',
    run: async (context) => (await import('./commands/services/brokers.js')).listBrokers(context),
  }),
  verb({
    name: 'create-service-broker',
    alias: 'csb',
    group: ADMINISTRATION,
    summary: 'Register a service broker; without PASSWORD it is asked for, or taken from BLOOM_BROKER_PASSWORD',
    operands: ['BROKER', 'USER', 'PASSWORD_OR_URL', '[URL]'],
    flags: { spaceScoped: { kind: 'switch', long: 'space-scoped', summary: 'for the targeted space alone' } },
    examples: ['bloom create-service-broker mine admin https://broker.example.com'],
    run: async (context, words, flags) => (await import('./commands/services/brokers.js')).createBroker(context, words, flags),
  }),
  verb({
    name: 'update-service-broker',
    group: ADMINISTRATION,
    summary: "Change a broker's address and login, and read its catalog again",
    operands: ['BROKER', 'USER', 'PASSWORD_OR_URL', '[URL]'],
    run: async (context, words) => (await import('./commands/services/brokers.js')).updateBroker(context, words),
  }),
  verb({
    name: 'rename-service-broker',
    group: ADMINISTRATION,
    summary: 'Rename a service broker',
    operands: ['BROKER', 'NEW_NAME'],
    run: async (context, [name, newName]) =>
      (await import('./commands/services/brokers.js')).renameBroker(context, name, newName),
  }),
  verb({
    name: 'delete-service-broker',
    group: ADMINISTRATION,
    summary: 'Remove a service broker that has no instances',
    operands: ['BROKER'],
    flags: force,
    run: async (context, [name], flags) => (await import('./commands/services/brokers.js')).deleteBroker(context, name, flags),
  }),
  verb({
    name: 'service-access',
    group: ADMINISTRATION,
    summary: 'Show who may use which plans',
    flags: { ...offering, ...broker },
    run: async (context, _operands, flags) => (await import('./commands/services/brokers.js')).showAccess(context, flags),
  }),
  verb({
    name: 'enable-service-access',
    group: ADMINISTRATION,
    summary: 'Let orgs use an offering or a plan of it',
    operands: ['OFFERING'],
    flags: { ...plan, ...org, ...broker },
    run: async (context, [what], flags) =>
      (await import('./commands/services/brokers.js')).changeAccess(context, what, flags, true),
  }),
  verb({
    name: 'disable-service-access',
    group: ADMINISTRATION,
    summary: 'Let orgs use an offering or a plan of it no more',
    operands: ['OFFERING'],
    flags: { ...plan, ...org, ...broker },
    run: async (context, [what], flags) =>
      (await import('./commands/services/brokers.js')).changeAccess(context, what, flags, false),
  }),
  verb({
    name: 'service-orphans',
    group: ADMINISTRATION,
    summary: 'List what brokers may still hold though nobody wants it; retry its deletion, or forget it',
    operands: ['[ACTION]', '[GUID]'],
    examples: ['bloom service-orphans', 'bloom service-orphans retry 7f5a2d8e-…', 'bloom service-orphans forget 7f5a2d8e-…'],
    run: async (context, [action, guid]) =>
      (await import('./commands/services/orphans.js')).orphansCommand(context, action, guid),
  }),
  verb({
    name: 'unusable-services',
    group: ADMINISTRATION,
    summary: 'List instances that their brokers say cannot be used; declare one repaired',
    operands: ['[ACTION]', '[GUID]'],
    examples: ['bloom unusable-services', 'bloom unusable-services repaired 7f5a2d8e-…'],
    run: async (context, [action, guid]) =>
      (await import('./commands/services/unusable.js')).unusableCommand(context, action, guid),
  }),
  verb({
    name: 'purge-service-offering',
    group: ADMINISTRATION,
    summary: 'Forget an offering with its instances, without asking the broker',
    operands: ['OFFERING'],
    flags: { ...broker, ...force },
    run: async (context, [what], flags) => (await import('./commands/services/brokers.js')).purgeOffering(context, what, flags),
  }),
  verb({
    name: 'purge-service-instance',
    group: ADMINISTRATION,
    summary: 'Forget a service instance, without asking the broker',
    operands: ['SERVICE'],
    flags: force,
    run: async (context, [name], flags) => (await import('./commands/services/instances.js')).purgeInstance(context, name, flags),
  }),
]
