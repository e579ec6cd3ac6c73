import { rows, sql, type Queryable } from '@bloomery/database/sql'

/** Of what routers may have to be told anew. */
export interface RouteChanges {
  readonly routeGuids: readonly string[]
  /** With all their routes. */
  readonly appGuids: readonly string[]
}

/**
 * Takes away what has been written down since it was asked last. Whoever takes it has to publish it, or to read all routes anew: what is taken
 * is not written down any more.
 */
export async function takeRouteChanges(on: Queryable): Promise<RouteChanges> {
  const taken = await rows<{ routeGuid: string | null; appGuid: string | null }>(
    on,
    sql`DELETE FROM route_changes RETURNING route_guid AS "routeGuid", app_guid AS "appGuid"`,
  )
  return {
    routeGuids: [...new Set(taken.flatMap(({ routeGuid }) => routeGuid ?? []))],
    appGuids: [...new Set(taken.flatMap(({ appGuid }) => appGuid ?? []))],
  }
}

export const areRouteChanges = async (on: Queryable): Promise<boolean> =>
  (await rows(on, sql`SELECT 1 FROM route_changes LIMIT 1`)).length > 0
