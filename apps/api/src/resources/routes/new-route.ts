import type { Domain } from '@bloomery/database'
import type { SpaceInOrganization } from '../spaces/find-space.js'
import type { RouteOptions } from './route-options.js'

export interface NewRoute {
  readonly space: SpaceInOrganization
  readonly domain: Domain
  readonly host?: string | undefined
  readonly path?: string | undefined
  readonly port?: number | undefined
  readonly options?: RouteOptions
  readonly metadata?: { readonly labels: Record<string, string>; readonly annotations: Record<string, string> }
}

/** What makes a route unique within its domain. */
export interface RouteAddress {
  readonly host: string
  readonly path: string
  /** 0: an HTTP route. */
  readonly port: number
}
