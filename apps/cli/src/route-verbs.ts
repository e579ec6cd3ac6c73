import type { Flags } from './command-line.js'
import { force, hostAndPath, otherSpace } from './shared-flags.js'
import { verb, type Verb } from './verb.js'

const routeParts = {
  ...hostAndPath,
  port: { kind: 'count', long: 'port', value: 'PORT', summary: 'port of a TCP route' },
} as const satisfies Flags

const options = {
  option: {
    kind: 'texts',
    short: 'o',
    long: 'option',
    value: 'KEY=VALUE',
    summary: 'option of the route, e.g. loadbalancing=least-connection; may repeat',
  },
} as const satisfies Flags

const GROUP = 'Routes'

/** The verbs about routes, and the domains and ports that they are made of. */
export const ROUTE_VERBS: readonly Verb[] = [
  verb({
    name: 'routes',
    alias: 'r',
    group: GROUP,
    summary: 'List the routes of the space',
    run: async (context) => (await import('./commands/routes.js')).listRoutes(context),
  }),
  verb({
    name: 'create-route',
    group: GROUP,
    summary: 'Make a route that leads to no app yet; on a TCP domain with a free port, or the one given',
    operands: ['DOMAIN'],
    flags: { ...routeParts, ...options },
    examples: [
      'bloom create-route apps.localhost --hostname blue -o loadbalancing=least-connection',
      'bloom create-route tcp.example.com',
      'bloom create-route tcp.example.com --hostname db --port 20018 -o sni=true',
    ],
    run: async (context, [domain], flags) =>
      (await import('./commands/change-routes.js')).createRouteCommand(context, domain, flags),
  }),
  verb({
    name: 'update-route',
    group: GROUP,
    summary: "Change a route's options",
    operands: ['DOMAIN'],
    flags: {
      ...routeParts,
      ...options,
      removeOption: { kind: 'texts', short: 'r', long: 'remove-option', value: 'KEY', summary: 'option to remove; may repeat' },
    },
    examples: ['bloom update-route apps.localhost --hostname blue -r loadbalancing'],
    run: async (context, [domain], flags) => (await import('./commands/change-routes.js')).updateRoute(context, domain, flags),
  }),
  verb({
    name: 'delete-route',
    group: GROUP,
    summary: 'Delete a route; its apps stay',
    operands: ['DOMAIN'],
    flags: { ...routeParts, ...force },
    run: async (context, [domain], flags) => (await import('./commands/change-routes.js')).deleteRoute(context, domain, flags),
  }),
  verb({
    name: 'map-route',
    group: GROUP,
    summary: 'Lead a route to an app; makes the route where there is none',
    operands: ['APP_NAME', 'DOMAIN'],
    flags: {
      ...routeParts,
      ...options,
      appProtocol: {
        kind: 'text',
        long: 'app-protocol',
        value: 'PROTOCOL',
        summary: 'what the app speaks: http1 (the default) or http2; tcp on a TCP domain',
      },
    },
    examples: [
      'bloom map-route my-app apps.localhost --hostname blue',
      'bloom map-route my-grpc-app apps.localhost --hostname grpc --app-protocol http2',
      'bloom map-route my-db tcp.example.com --port 20017',
    ],
    run: async (context, [name, domain], flags) => (await import('./commands/routes.js')).mapRoute(context, name, domain, flags),
  }),
  verb({
    name: 'unmap-route',
    group: GROUP,
    summary: 'Lead a route to an app no more; the route remains',
    operands: ['APP_NAME', 'DOMAIN'],
    flags: routeParts,
    examples: ['bloom unmap-route my-app apps.localhost --hostname blue'],
    run: async (context, [name, domain], flags) =>
      (await import('./commands/routes.js')).unmapRoute(context, name, domain, flags),
  }),
  verb({
    name: 'share-route',
    group: GROUP,
    summary: 'Let apps of another space be mapped to a route, too',
    operands: ['DOMAIN'],
    flags: { ...routeParts, ...otherSpace },
    run: async (context, [domain], flags) => (await import('./commands/change-routes.js')).shareRoute(context, domain, flags),
  }),
  verb({
    name: 'unshare-route',
    group: GROUP,
    summary: 'End the sharing of a route with another space, and unmap its apps',
    operands: ['DOMAIN'],
    flags: { ...routeParts, ...otherSpace },
    run: async (context, [domain], flags) => (await import('./commands/change-routes.js')).unshareRoute(context, domain, flags),
  }),
  verb({
    name: 'move-route',
    group: GROUP,
    summary: 'Give a route to another space',
    operands: ['DOMAIN'],
    flags: { ...routeParts, ...otherSpace },
    run: async (context, [domain], flags) => (await import('./commands/change-routes.js')).moveRoute(context, domain, flags),
  }),
  verb({
    name: 'domains',
    group: GROUP,
    summary: 'List the domains of the org',
    run: async (context) => (await import('./commands/domains.js')).listDomains(context),
  }),
  verb({
    name: 'create-shared-domain',
    group: GROUP,
    summary: 'Make a domain that every org may use; with a router group one for TCP routes',
    operands: ['DOMAIN'],
    flags: {
      routerGroup: { kind: 'text', long: 'router-group', value: 'GROUP', summary: 'group whose ports its TCP routes take' },
      internal: { kind: 'switch', long: 'internal', summary: 'for traffic between apps alone' },
    },
    examples: ['bloom create-shared-domain tcp.example.com --router-group default-tcp'],
    run: async (context, [name], flags) => (await import('./commands/domains.js')).createSharedDomain(context, name, flags),
  }),
  verb({
    name: 'delete-shared-domain',
    group: GROUP,
    summary: 'Delete a domain that every org may use, with all its routes',
    operands: ['DOMAIN'],
    flags: force,
    run: async (context, [name], flags) => (await import('./commands/domains.js')).deleteSharedDomain(context, name, flags),
  }),
  verb({
    name: 'router-groups',
    group: GROUP,
    summary: 'List the groups of ports for TCP routes',
    run: async (context) => (await import('./commands/domains.js')).listRouterGroups(context),
  }),
]
