declare module '*.ftl' {
  const text: string;
  export default text;
}
declare module '*.ftl?later' {
  const source: string;
  export default source;
}
declare module '*.ftl?plugins' {
  const source: string;
  export default source;
}
// A sheet for document.adoptedStyleSheets, made small; a file as it is.
declare module '*.css?sheet' {
  const sheet: string;
  export default sheet;
}
declare module '*.lua' {
  const source: string;
  export default source;
}
