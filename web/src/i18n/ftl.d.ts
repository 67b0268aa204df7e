declare module '*.ftl' {
  const text: string;
  export default text;
}
declare module '*.ftl?later' {
  const source: string;
  export default source;
}
