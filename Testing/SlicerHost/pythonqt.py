"""The module `qt` as PythonQt presents it, made from PySide6.

PythonQt and PySide6 wrap the same Qt in different manners. A scripted module is written in PythonQt's:

- a Qt property is an attribute: `label.text = "x"`, `button.enabled`; the call `label.text()` is an error;
- `button.connect("clicked(bool)", f)` connects by the C++ signature of the signal;
- `widget.name` is its object name, `widget.className()` its C++ class, `widget.delete()` deletes it;
- a wrapped C++ object takes no new attributes.

Where PythonQt only prints (a signal that does not exist), this module raises.
"""

import re
from types import ModuleType

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets

SOURCES = (QtCore, QtGui, QtWidgets)

# Virtual methods that are also properties: Qt itself calls the Python override by this name.
_STAY_METHODS = {"sizeHint", "minimumSizeHint"}
_PYTHON_TYPES = {"bool": bool, "int": int, "double": float, "float": float, "QString": str}
_SIGNATURE = re.compile(r"\s*(\w+)\s*\((.*)\)\s*$")


class _QtProperty(property):
    """A Qt property as an attribute of instances; the class still shows what it had under that name.

    `QTimer.singleShot` is the reason: a property of a timer and a static function of the class.
    """

    static_member = None

    def __get__(self, instance, owner=None):
        if instance is None and self.static_member is not None:
            return self.static_member
        return super().__get__(instance, owner)


def make_qt_module() -> ModuleType:
    """Build `qt` and teach the classes of PySide6 PythonQt's manners. Call it once per process."""
    module = ModuleType("qt", __doc__)
    for source in SOURCES:
        for name in dir(source):
            if not name.startswith("__"):
                setattr(module, name, getattr(source, name))
    classes = [value for value in vars(module).values() if _is_wrapped(value)]
    for wrapped in classes:
        _turn_properties_into_attributes(wrapped)
    _teach_every_object()
    for wrapped in classes:
        if wrapped is not QtCore.QObject:
            wrapped.__setattr__ = _strict_setattr
    return module


def _is_wrapped(value) -> bool:
    return isinstance(value, type) and issubclass(value, QtCore.QObject) and "staticMetaObject" in vars(value)


def _turn_properties_into_attributes(wrapped: type) -> None:
    meta = wrapped.staticMetaObject
    for i in range(meta.propertyOffset(), meta.propertyCount()):
        meta_property = meta.property(i)
        name = meta_property.name()
        if name in _STAY_METHODS or isinstance(getattr(wrapped, name, None), property):
            continue
        attribute = _QtProperty(_reader(wrapped, name), _writer(wrapped, meta_property))
        member = vars(wrapped).get(name)
        attribute.static_member = getattr(member, "__func__", member if callable(member) else None)
        setattr(wrapped, name, attribute)


def _reader(wrapped: type, name: str):
    """How to read a property: by its getter where there is one, which keeps Python types, else by its name."""
    capital = name[0].upper() + name[1:]
    for candidate in (f"is{capital}", name, f"has{capital}"):
        getter = getattr(wrapped, candidate, None)
        if callable(getter) and not isinstance(getter, QtCore.Signal):
            return lambda self: getter(self)
    return lambda self: QtCore.QObject.property(self, name)


def _writer(wrapped: type, meta_property):
    name = meta_property.name()
    if not meta_property.isWritable():
        return None
    if meta_property.typeName() == "bool":
        # PythonQt takes the truth value of anything.
        return lambda self, value: QtCore.QObject.setProperty(self, name, bool(value))
    setter = getattr(wrapped, f"set{name[0].upper()}{name[1:]}", None)
    if setter is not None:
        return lambda self, value: setter(self, value)
    return lambda self, value: QtCore.QObject.setProperty(self, name, value)


_plain_getattribute = QtCore.QObject.__getattribute__
_plain_setattr = QtCore.QObject.__setattr__


def _teach_every_object() -> None:
    base = QtCore.QObject
    # PySide6 looks `connect` and `disconnect` up in C and never sees an override on the class.
    base.__getattribute__ = _getattribute
    base.className = lambda self: self.metaObject().className()
    base.delete = shiboken6.delete
    base.name = property(lambda self: self.objectName, lambda self, name: self.setObjectName(name))


def _getattribute(self, name):
    if name == "connect":
        return _connect.__get__(self)
    if name == "disconnect":
        return _disconnect.__get__(self)
    return _plain_getattribute(self, name)


def is_stand_in(cls: type) -> bool:
    """Whether a class of this host plays a C++ class; a module's own subclasses of Qt classes do not."""
    return "stand_in_for" in vars(cls)


def _strict_setattr(self, name, value):
    cls = type(self)
    closed = cls.__module__.startswith("PySide6") or is_stand_in(cls)
    if (
        closed
        and not name.startswith("_")
        and not hasattr(cls, name)
        and name.encode() not in self.dynamicPropertyNames()
    ):
        raise AttributeError(f"{cls.__name__} has no property '{name}', and a wrapped C++ object takes no new ones.")
    _plain_setattr(self, name, value)


def _connect(self, signature, receiver, slot=None, *more):
    """`connect("clicked(bool)", f)`, or `connect("clicked(bool)", receiver, "slot()")`."""
    if not isinstance(signature, str) or signature[:1].isdigit():  # PySide6's own static form, used within Qt
        return _plain_getattribute(self, "connect")(*_given(signature, receiver, slot, *more))
    _signal(self, signature).connect(_target(receiver, slot))
    return True


def _disconnect(self, signature=None, receiver=None, slot=None, *more):
    """The counterpart of `connect`.

    :returns: False if there was no such connection.
    """
    if not isinstance(signature, str) or signature[:1].isdigit():
        return _plain_getattribute(self, "disconnect")(*_given(signature, receiver, slot, *more))
    try:
        _signal(self, signature).disconnect(_target(receiver, slot))
    except (RuntimeError, TypeError):  # PySide6's way of saying that nothing was connected
        return False
    return True


def _given(*arguments) -> list:
    return [argument for argument in arguments if argument is not None]


def _target(receiver, slot):
    if slot is None:
        return receiver
    match = _SIGNATURE.match(slot)
    if not match:
        raise AttributeError(f"'{slot}' is no signature of a slot, 'name(arguments)' is.")
    return getattr(receiver, match[1])


def _signal(instance, signature: str):
    """The bound signal of an object for a C++ signature.

    :raises AttributeError: if the C++ class has no such signal; PythonQt would print that and connect nothing.
    """
    match = _SIGNATURE.match(signature)
    normalized = QtCore.QMetaObject.normalizedSignature(signature).data().decode() if match else ""
    if not match or normalized not in signals_of(instance):
        raise AttributeError(f"{type(instance).__name__} has no signal '{signature}'.")
    name = match[1]
    declared = next(vars(cls)[name] for cls in type(instance).__mro__ if isinstance(vars(cls).get(name), QtCore.Signal))
    bound = declared.__get__(instance, type(instance))
    types = tuple(_PYTHON_TYPES.get(argument.strip(), object) for argument in match[2].split(",") if argument.strip())
    try:
        return bound[types if len(types) != 1 else types[0]]
    except (KeyError, IndexError, TypeError):  # not overloaded: there is only the one
        return bound


def signals_of(instance) -> set[str]:
    """The normalised C++ signatures of all signals of an object; for a stand-in those that it declares."""
    found = set()
    for cls in type(instance).__mro__:
        found |= set(vars(cls).get("signals", ())) if is_stand_in(cls) else set()
    meta = instance.metaObject()
    for i in range(meta.methodCount()):
        method = meta.method(i)
        signature = method.methodSignature().data().decode()
        if method.methodType() == QtCore.QMetaMethod.Signal and not _declared_by_stand_in(instance, signature):
            found.add(signature)
    return found


def _declared_by_stand_in(instance, signature: str) -> bool:
    name = signature.split("(")[0]
    owner = next((cls for cls in type(instance).__mro__ if isinstance(vars(cls).get(name), QtCore.Signal)), None)
    return owner is not None and is_stand_in(owner)
