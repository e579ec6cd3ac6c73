/** Which build a container belongs to. */
export const BUILD_LABEL = 'bloomery.build'
/** Which stager has made it, so that its successor finds what it left. */
export const STAGER_LABEL = 'bloomery.stager'
